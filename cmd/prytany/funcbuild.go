package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) funcBuildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build DIR", Short: "Compile a function to WASM, or pack its code, and check its manifest", Args: exactly(1, "DIR"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcBuild(c.Context(), args[0]) },
	}
}

// funcBuild leaves what would be published as code beside the manifest.
func (a *app) funcBuild(ctx context.Context, dir string) error {
	s, err := a.loadSource(ctx, dir)
	if err != nil {
		return err
	}
	if err := s.manifest.Check(); err != nil {
		return task.Refuse("manifest-invalid", "%v", err).WithNext("prytany func schema")
	}
	path := filepath.Join(dir, layerName)
	if s.manifest.Runtime == task.RuntimeWasm {
		path = filepath.Join(dir, wasmName)
	}
	if err := os.WriteFile(path, s.code, 0o644); err != nil {
		return err
	}
	return a.print(map[string]any{"file": path, "bytes": len(s.code), "manifest": s.manifest}, path+"\n")
}

// layerName is what func build packs code into that is no module.
const layerName = "function.tar"
