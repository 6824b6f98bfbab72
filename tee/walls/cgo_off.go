//go:build !cgo

package walls

const withC = false
