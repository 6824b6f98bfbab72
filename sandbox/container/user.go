package container

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxUsers bounds how much of an image's /etc/passwd is read.
const maxUsers = 1 << 20

// User finds who the image's User is: user or uid, and perhaps a colon and
// group or gid. why is for Bob.
func User(rootfs *os.Root, s string) (uid, gid uint32, why string) {
	if s == "" {
		return 0, 0, ""
	}
	name, group, both := strings.Cut(s, ":")
	entry := find(rootfs, "/etc/passwd", name)
	uid, ok := id(name)
	if !ok {
		if uid, ok = field(entry, 2); !ok {
			return 0, 0, fmt.Sprintf("the image wants to run as %q, who is not in its /etc/passwd", name)
		}
	}
	if !both {
		gid, _ = field(entry, 3)
		return uid, gid, ""
	}
	if gid, ok = id(group); !ok {
		if gid, ok = field(find(rootfs, "/etc/group", group), 2); !ok {
			return 0, 0, fmt.Sprintf("the image wants to run in group %q, which is not in its /etc/group", group)
		}
	}
	return uid, gid, ""
}

func id(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint32(n), err == nil
}

func field(entry []string, i int) (uint32, bool) {
	if i >= len(entry) {
		return 0, false
	}
	return id(entry[i])
}

// find returns the fields of the entry whose first is name, or whose third is.
func find(rootfs *os.Root, file, name string) []string {
	f, err := openIn(rootfs, file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxUsers)); lines.Scan(); {
		e := strings.Split(lines.Text(), ":")
		if e[0] == name || len(e) > 2 && e[2] == name {
			return e
		}
	}
	return nil
}
