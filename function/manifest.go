package function

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/task"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// manifestNames are what the file beside a function's source may be called;
// there is one of them.
var manifestNames = []string{"prytany.yaml", "prytany.yml", "prytany.json"}

// manifestFile is the manifest as a person writes it, with units. The schema
// says what each field is.
type manifestFile struct {
	Name        string     `json:"name"`
	Version     string     `json:"version"`
	Description string     `json:"description"`
	Runtime     string     `json:"runtime"`
	Code        string     `json:"code"`
	Image       *imageFile `json:"image"`
	Arch        string     `json:"arch"`
	Args        []string   `json:"args"`
	TaskArgs    bool       `json:"task_args"`
	Public      bool       `json:"public"`
	Log         *bool      `json:"log"` // default: as public
	Metering    string     `json:"metering"`
	Inputs      []portFile `json:"inputs"`
	Outputs     []portFile `json:"outputs"`
	Limits      limitsFile `json:"limits"`
	Royalty     string     `json:"royalty"`

	Policy *Policy `json:"policy"`
	Suited string  `json:"suited_share"`
}

type imageFile struct {
	File   string `json:"file"`
	Digest string `json:"digest"`

	Debian  []string          `json:"debian"` // packages that it is made of, in the place of a file
	Without []string          `json:"without"`
	Links   map[string]string `json:"links"`
	Lock    string            `json:"lock"`
}

type portFile struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Doc      string `json:"doc"`
	Max      string `json:"max"`
	Optional bool   `json:"optional"`
	Schema   string `json:"schema"` // a file beside the manifest
}

type limitsFile struct {
	Gas      string `json:"gas"`
	GasLeast string `json:"gas_least"`
	Memory   string `json:"memory"`
	Output   string `json:"output"`
	Wall     string `json:"wall"`
}

// Schema is the JSON Schema of the manifest as a person writes it.
//
//go:embed manifest.schema.json
var Schema []byte

var manifestSchema = sync.OnceValue(func() *jsonschema.Schema {
	const name = "manifest.schema.json"
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err == nil {
		err = c.AddResource(name, doc)
	}
	if err != nil {
		panic(err) // it is part of this program
	}
	return c.MustCompile(name)
})

// Parse reads a manifest file, in YAML or JSON. Unknown fields are
// errors, since a misspelt limit would be no limit. The image's blob is not
// known yet: it has its digest, if the file names one.
func Parse(raw []byte) (task.Manifest, manifestFile, error) {
	var f manifestFile
	bad := func(err error) (task.Manifest, manifestFile, error) {
		return task.Manifest{}, f, task.Refuse("manifest-invalid", "%v", err).WithNext("prytany func schema")
	}
	d, err := parseDocument(raw)
	if err == nil {
		err = d.validate(manifestSchema())
	}
	if err == nil {
		var text []byte
		if text, err = json.Marshal(plain(d.value, true)); err == nil {
			err = json.Unmarshal(text, &f)
		}
	}
	if err != nil {
		return bad(err)
	}
	m := task.Manifest{
		Name: f.Name, Version: f.Version, Description: f.Description, Runtime: f.Runtime, Arch: f.Arch, Args: f.Args,
		TaskArgs: f.TaskArgs, Public: f.Public, Log: f.Public, Exact: f.Metering == "exact",
	}
	if f.Log != nil {
		m.Log = *f.Log
	}
	if err := checkCommand(d, m, f.Image != nil); err != nil {
		return bad(err)
	}
	if m.Arch == "" && (m.Runtime == task.RuntimeOCI || m.Runtime == task.RuntimeDocker) {
		m.Arch = runtime.GOARCH
	}
	if f.Image != nil {
		if err := checkImageFile(d, f.Image, m.Runtime); err != nil {
			return bad(err)
		}
		m.Image = &task.Image{Digest: f.Image.Digest}
	}
	if m.Limits, err = f.Limits.read(d); err != nil {
		return bad(err)
	}
	if m.Inputs, err = ports(d, "inputs", f.Inputs); err != nil {
		return bad(err)
	}
	if m.Outputs, err = ports(d, "outputs", f.Outputs); err != nil {
		return bad(err)
	}
	if f.Policy != nil {
		p, err := f.Policy.Read()
		if err != nil {
			return bad(fmt.Errorf("%s: %w", d.where("policy"), err))
		}
		m.Policy = &p
	}
	if m.SuitedPPM, err = ParseShare("suited_share", f.Suited); err != nil {
		return bad(fmt.Errorf("%s: %w", d.where("suited_share"), err))
	}
	if f.Royalty != "" {
		if m.Royalty, err = task.ParseAmount(f.Royalty); err != nil {
			return bad(fmt.Errorf("%s: %w", d.where("royalty"), err))
		}
	}
	return m, f, nil
}

// checkCommand says where in the file the command line is wrong. A container's may
// come from its image, which is looked at later.
func checkCommand(d *document, m task.Manifest, image bool) error {
	switch python := m.Runtime == task.RuntimePython; {
	case len(m.Args) == 0 && python:
		return fmt.Errorf("%s: python needs args: the script, such as [/code/main.py]", d.where("runtime"))
	case len(m.Args) == 0 && m.Runtime != task.RuntimeWasm && !image:
		return fmt.Errorf("%s: %s without an image needs args: the whole command", d.where("runtime"), m.Runtime)
	case python && strings.HasPrefix(m.Args[0], "-"):
		return fmt.Errorf("%s: %q is no script: python runs a file, such as /code/main.py", d.where("args.0"), m.Args[0])
	}
	return nil
}

func (f limitsFile) read(d *document) (l task.Limits, err error) {
	for _, q := range []struct {
		field, text string
		to          *uint64
	}{{"gas", f.Gas, &l.Gas}, {"memory", f.Memory, &l.MemoryBytes}, {"output", f.Output, &l.OutputBytes}} {
		if *q.to, err = ParseQuantity(q.text); err != nil {
			return l, fmt.Errorf("%s: %w", d.where("limits."+q.field), err)
		}
	}
	if f.GasLeast != "" {
		if l.GasLeast, err = ParseQuantity(f.GasLeast); err == nil && l.GasLeast > l.Gas {
			err = fmt.Errorf("%s is more than limits.gas, %s", f.GasLeast, f.Gas)
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", d.where("limits.gas_least"), err)
		}
	}
	wall, err := time.ParseDuration(f.Wall)
	if err != nil || wall < time.Millisecond {
		return l, fmt.Errorf("%s: %q is no time such as \"60s\"", d.where("limits.wall"), f.Wall)
	}
	l.WallMillis = uint64(wall.Milliseconds())
	return l, nil
}

func ports(d *document, field string, list []portFile) (all []task.Port, err error) {
	first := map[string]int{}
	for i, p := range list {
		name := d.where(fmt.Sprintf("%s.%d.name", field, i))
		if j, twice := first[p.Name]; twice {
			return nil, fmt.Errorf("%s: %q is the name of %s.%d already", name, p.Name, field, j)
		}
		first[p.Name] = i
		if p.Schema != "" && field == "inputs" {
			return nil, fmt.Errorf("%s: only outputs are held to a schema", d.where(fmt.Sprintf("%s.%d.schema", field, i)))
		}
		port := task.Port{Name: p.Name, Type: p.Type, Doc: p.Doc, Optional: p.Optional}
		if p.Max != "" {
			if port.MaxBytes, err = ParseQuantity(p.Max); err != nil {
				return nil, fmt.Errorf("%s: %w", d.where(fmt.Sprintf("%s.%d.max", field, i)), err)
			}
		}
		all = append(all, port)
	}
	return all, nil
}

var units = []struct {
	suffix string
	factor uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"", 1},
}

// ParseQuantity reads a whole number with an optional unit.
func ParseQuantity(s string) (uint64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil {
			break
		}
		if hi, lo := bits.Mul64(n, u.factor); hi == 0 && lo > 0 {
			return lo, nil
		}
		break
	}
	return 0, errors.New(strconv.Quote(s) + ` is no amount such as "20G" or "256MiB"`)
}
