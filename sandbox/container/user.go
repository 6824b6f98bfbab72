package container

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxUsers bounds how much of an image's /etc/passwd and /etc/group is read.
const maxUsers = 1 << 20

// maxGroups is how many groups a user may be in beside its own.
const maxGroups = 1024

// User finds who the image's User is: user or uid, and perhaps a colon and
// group or gid. Nothing before the colon is root; nothing after it is as if it
// was not there. Who names no group has that of /etc/passwd, and also those of
// /etc/group that the user is in, as with Docker and containerd: image-spec says
// so in config.md for a user and a uid, and in conversion.md not for a uid. why
// is for Bob.
func User(rootfs *os.Root, s string) (uid, gid uint32, groups []uint32, why string) {
	if s == "" {
		return 0, 0, nil, ""
	}
	no := func(format string, args ...any) (uint32, uint32, []uint32, string) {
		return 0, 0, nil, fmt.Sprintf(format, args...)
	}
	name, group, _ := strings.Cut(s, ":")
	if name == "" {
		name = "0"
	}
	user := find(rootfs, "/etc/passwd", name)
	uid, ok := id(name)
	if !ok {
		if isNumber(name) {
			return no("the image wants to run as %.100q: ids go up to 65535", name)
		}
		if uid, ok = field(user, 2); !ok {
			return no("the image wants to run as %.100q, who is not in its /etc/passwd", name)
		}
	}
	if group != "" {
		if gid, ok = id(group); ok {
			return uid, gid, nil, ""
		}
		if isNumber(group) {
			return no("the image wants to run in group %.100q: ids go up to 65535", group)
		}
		if gid, ok = field(find(rootfs, "/etc/group", group), 2); !ok {
			return no("the image wants to run in group %.100q, which is not in its /etc/group", group)
		}
		return uid, gid, nil, ""
	}
	gid, _ = field(user, 3)
	if user == nil {
		return uid, gid, nil, ""
	}
	entries(rootfs, "/etc/group", func(e []string) bool {
		if of, ok := field(e, 2); ok && len(e) > 3 && slices.Contains(strings.Split(e[3], ","), user[0]) && !slices.Contains(groups, of) {
			groups = append(groups, of)
		}
		return len(groups) <= maxGroups
	})
	if len(groups) > maxGroups {
		return no("the image's user %.100q is in more than %d groups", name, maxGroups)
	}
	return uid, gid, groups, ""
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

// isNumber says that a name cannot be but an id.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// find returns the fields of the first entry that is for a name; for a number,
// of the first whose id that is.
func find(rootfs *os.Root, file, name string) (found []string) {
	want, byID := id(name)
	entries(rootfs, file, func(e []string) bool {
		of, ok := field(e, 2)
		if byID && ok && of == want || !byID && e[0] == name {
			found = e
		}
		return found == nil
	})
	return found
}

// entries gives each line of a file such as /etc/passwd, as fields, until it is
// told to stop.
func entries(rootfs *os.Root, file string, each func([]string) bool) {
	f, err := openIn(rootfs, file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxUsers))
	lines.Buffer(nil, maxUsers+1)
	for lines.Scan() && each(strings.Split(lines.Text(), ":")) {
	}
}
