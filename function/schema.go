package function

import (
	"bytes"
	"encoding/json"
	"path/filepath"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/schema"
	"github.com/prytany/prytany/task"
)

// readSchemas puts the schemas that a manifest names as files beside it into the
// manifest itself, and refuses those that bound nothing.
func (p *Plan) readSchemas() error {
	for i, f := range p.file.Outputs {
		if f.Schema == "" {
			continue
		}
		path := filepath.Join(p.dir, f.Schema)
		raw, err := disk.ReadFile(path, maxDocument)
		if err != nil {
			return task.Refuse("schema-invalid", "%v", err)
		}
		if _, err := schema.Parse(raw); err != nil {
			return task.Refuse("schema-invalid", "%s: %v", path, err).WithNext("spec §9.10 has all that a schema may say")
		}
		var text bytes.Buffer
		if err := json.Compact(&text, raw); err != nil {
			return task.Refuse("schema-invalid", "%s: %v", path, err)
		}
		p.Manifest.Outputs[i].Schema = text.String()
	}
	return nil
}
