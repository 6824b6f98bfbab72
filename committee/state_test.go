package committee

import (
	"reflect"
	"testing"

	"github.com/prytany/prytany/task"
)

// fields visits each field of a machine, those of its turn and round too, so that it can
// be set.
func fields(m *Machine, visit func(name string, v reflect.Value)) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			at := reflect.NewAt(f.Type, v.Field(i).Addr().UnsafePointer()).Elem() // it is not exported
			if f.Anonymous {
				walk(at)
				continue
			}
			visit(f.Name, at)
		}
	}
	walk(reflect.ValueOf(m).Elem())
}

// some is a value of a type that is not its zero.
func some(t *testing.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Array:
		v.Index(0).Set(some(t, typ.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, some(t, typ.Elem())))
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
	case reflect.Struct:
		v.Field(0).Set(some(t, typ.Field(0).Type))
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(some(t, typ.Key()), some(t, typ.Elem()))
	default:
		t.Fatalf("no value of %s", typ)
	}
	return v
}

// Whatever a machine remembers is in its fingerprint, except what it is said not to be.
func TestFingerprintHasEveryField(t *testing.T) {
	left := map[string]bool{"patience": true, "c": true, "out": true}
	fresh := func() *Machine { return New(task.NodeID{9}, Embedded) }
	plain, seen := fresh().Fingerprint(), map[task.Hash]string{}
	fields(fresh(), func(name string, f reflect.Value) {
		if left[name] {
			return
		}
		m := fresh()
		fields(m, func(n string, v reflect.Value) {
			if n == name {
				v.Set(some(t, f.Type()))
			}
		})
		p := m.Fingerprint()
		if p == plain || seen[p] != "" {
			t.Errorf("%s is not in the fingerprint, or looks like %s", name, seen[p])
		}
		seen[p] = name
	})
	if len(seen) < 30 {
		t.Errorf("only %d fields", len(seen))
	}
}

// A clone is in the same state, and what is written into its maps is not in those of the
// machine that it comes from.
func TestCloneIsItsOwn(t *testing.T) {
	m := New(task.NodeID{9}, Embedded)
	maps := 0
	fields(m, func(_ string, f reflect.Value) {
		if f.Kind() == reflect.Map {
			f.Set(some(t, f.Type()))
			maps++
		}
	})
	before := m.Fingerprint()
	c := m.Clone()
	if c.Fingerprint() != before {
		t.Error("the clone is in another state")
	}
	fields(c, func(_ string, f reflect.Value) {
		if f.Kind() == reflect.Map {
			f.SetMapIndex(reflect.Zero(f.Type().Key()), some(t, f.Type().Elem()))
		}
	})
	if m.Fingerprint() != before || c.Fingerprint() == before {
		t.Error("the clone writes into the machine that it comes from, or nowhere")
	}
	if maps < 8 {
		t.Errorf("only %d maps", maps)
	}
	if m.out = []Action{Finish{}}; m.Clone().out != nil {
		t.Error("the clone has the actions of a step that is not its own")
	}
}
