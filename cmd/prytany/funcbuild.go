package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) funcBuildCommand() *cobra.Command {
	var rootfs, out string
	c := &cobra.Command{
		Use:   "build DIR | --rootfs ROOTFS --out IMAGE.tar [-- COMMAND...]",
		Short: "Compile a function to WASM, or pack its code; or make an image of a root file system",
		Long: "With DIR: checks the manifest, and leaves what would be published as code beside it.\n" +
			"With --rootfs: makes a tar of an OCI image layout, the same bytes for the same files whoever\n" +
			"builds it. Without a DIR what follows -- is the image's command.",
		RunE: func(c *cobra.Command, args []string) error {
			if rootfs != "" {
				return a.imageBuild(rootfs, out, args)
			}
			if err := exactly(1, "DIR")(c, args); err != nil {
				return err
			}
			return a.funcBuild(c.Context(), args[0])
		},
	}
	c.Flags().StringVar(&rootfs, "rootfs", "", "a root file system: a directory, or a tar of one")
	c.Flags().StringVar(&out, "out", "", "where to write the image")
	return c
}

// imageBuild makes a public image of a root file system.
func (a *app) imageBuild(rootfs, out string, cmd []string) error {
	if out == "" {
		return usage("--rootfs goes with --out")
	}
	layout, digest, err := function.BuildImage(rootfs, image.Config{Cmd: cmd})
	if err != nil {
		return task.Refuse("image-invalid", "%s: %v", rootfs, err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, layout, 0o644); err != nil {
		return err
	}
	a.say("%s: %s, %d KiB", out, digest, len(layout)>>10)
	return a.print(imageBuilt{out, digest, len(layout)}, digest+"\n")
}

// funcBuild leaves what would be published as code beside the manifest.
func (a *app) funcBuild(ctx context.Context, dir string) error {
	s, err := function.Load(ctx, dir, a.say)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, function.LayerName)
	if s.Manifest.Runtime == task.RuntimeWasm {
		path = filepath.Join(dir, function.WasmName)
	}
	if err := os.WriteFile(path, s.Code, 0o644); err != nil {
		return err
	}
	return a.print(funcBuilt{path, len(s.Code), s.Manifest}, path+"\n")
}

func (a *app) funcLockCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lock DIR", Short: "Write down which Debian packages a function's image is made of, by version and digest", Args: exactly(1, "DIR"),
		Long: "Asks this machine's apt which packages those of image.debian need, and writes name, version,\n" +
			"architecture, size and SHA-256 of each into " + function.LockName + " beside the manifest. An image is built\n" +
			"of just these, the same bytes wherever it is built. Again: today's versions.",
		RunE: func(c *cobra.Command, args []string) error { return a.funcLock(c.Context(), args[0]) },
	}
}

func (a *app) funcLock(ctx context.Context, dir string) error {
	p, err := function.ReadPlan(dir)
	if err != nil {
		return err
	}
	path, packages, err := p.Lock(ctx, a.say)
	if err != nil {
		return err
	}
	a.say("%d packages", packages)
	return a.print(locked{path, uint64(packages)}, path+"\n")
}
