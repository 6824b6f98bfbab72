//go:build cgo

package walls

// withC says that libc may have threads that the Go runtime does not know, and
// that libraries are looked for in files.
const withC = true
