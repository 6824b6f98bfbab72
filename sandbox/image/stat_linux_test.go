package image

import (
	"io/fs"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func owner(st fs.FileInfo) (uid, gid uint32) {
	s := st.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid
}

func xattrs(t *testing.T, path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
