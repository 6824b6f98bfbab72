package function

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/prytany/prytany/debian"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
)

// LockName is what a lock file is called, if the manifest gives it no name.
const LockName = "debian.lock"

// lockPath is where the lock of a manifest's Debian packages lies.
func (p Plan) lockPath() string {
	name := p.file.Image.Lock
	if name == "" {
		name = LockName
	}
	return filepath.Join(p.dir, name)
}

// Lock asks apt which packages a manifest's image is made of today, and writes them
// into its lock file.
func (p Plan) Lock(ctx context.Context, say Say) (path string, packages int, err error) {
	i := p.file.Image
	if i == nil || len(i.Debian) == 0 {
		return "", 0, task.Refuse("lock-needless", "%s names no packages as image.debian", p.Path).WithNext("prytany func schema")
	}
	say.line("asking apt for the packages")
	l, err := (debian.Apt{Arch: debian.Arch(p.Manifest.Arch)}).Resolve(ctx, i.Debian, i.Without)
	if err != nil {
		return "", 0, err
	}
	return p.lockPath(), len(l), os.WriteFile(p.lockPath(), l.Encode(), 0o644)
}

// packagesImage is the image of a manifest's Debian packages: from this user's cache,
// or built.
func (p Plan) packagesImage(ctx context.Context, say Say) ([]byte, error) {
	raw, err := disk.ReadFile(p.lockPath(), maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, task.Refuse("lock-missing", "%s names Debian packages, and there is no %s", p.Path, p.lockPath()).WithNext("prytany func lock %s", task.ShellWord(p.dir))
	}
	var l debian.Lock
	if err == nil {
		l, err = debian.ParseLock(raw)
	}
	if err != nil {
		return nil, task.Refuse("lock-invalid", "%s: %v", p.lockPath(), err).WithNext("prytany func lock %s", task.ShellWord(p.dir))
	}
	arch := debian.Arch(p.Manifest.Arch)
	for _, q := range l {
		if q.Arch != "all" && q.Arch != arch {
			return nil, task.Refuse("lock-invalid", "%s is for %s, and the function for %s", q, q.Arch, arch).WithNext("prytany func lock %s", task.ShellWord(p.dir))
		}
	}
	images, err := ImagesDir()
	if err != nil {
		return nil, err
	}
	links := p.file.Image.Links
	at := filepath.Join(images, "debian-"+debian.Key(l, links)+"-"+runtime.Version()+".tar")
	if raw, err := disk.ReadFile(at, task.MaxBlob); err == nil {
		return raw, nil
	}
	say.line("building an image of %d Debian packages (kept for the next time)", len(l))
	debs := filepath.Join(filepath.Dir(images), "debian")
	if err := (debian.Apt{Arch: arch}).Fetch(ctx, l, debs); err != nil {
		return nil, err
	}
	root, err := debian.Root(ctx, l, debs, links)
	if err != nil {
		return nil, err
	}
	layout, _, err := image.Build(bytes.NewReader(root), image.Config{})
	if err != nil {
		return nil, task.Refuse("image-invalid", "the packages of %s: %v", p.lockPath(), err)
	}
	return layout, errors.Join(os.MkdirAll(images, 0o755), disk.WriteWhole(at, layout))
}

// checkImageFile holds the image of a manifest to be of one kind.
func checkImageFile(d *document, f *imageFile, run string) error {
	native := run == task.RuntimeOCI || run == task.RuntimeDocker
	switch packages := len(f.Debian) > 0; {
	case packages == (f.File != ""):
		return errors.New(d.where("image") + ": want file, or debian with packages, and not both")
	case packages && !native:
		return errors.New(d.where("image.debian") + ": packages make an image for the runtimes oci and docker")
	case !packages && (len(f.Without) > 0 || len(f.Links) > 0 || f.Lock != ""):
		return errors.New(d.where("image") + ": without, links and lock go with debian")
	}
	for name, to := range f.Links {
		if !strings.HasPrefix(name, "/") || to == "" {
			return errors.New(d.where("image.links") + ": a link has an absolute path, and leads somewhere")
		}
	}
	return nil
}
