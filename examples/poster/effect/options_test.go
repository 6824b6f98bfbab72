package effect

import (
	"fmt"
	"image"
	"reflect"
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	for args, want := range map[string]Options{
		"":                              {Levels: DefaultLevels, Radius: DefaultRadius},
		"--levels 2 --radius 16":        {Levels: 2, Radius: 16},
		"-levels=32 --radius=1":         {Levels: 32, Radius: 1},
		"--levels 3 --levels 4":         {Levels: 4, Radius: DefaultRadius},
		"--blur 0,0,1,1":                {Levels: DefaultLevels, Radius: DefaultRadius, Blur: []image.Rectangle{image.Rect(0, 0, 1, 1)}},
		"--blur 5,6,7,8 --blur=1,2,3,4": {Levels: DefaultLevels, Radius: DefaultRadius, Blur: []image.Rectangle{image.Rect(5, 6, 12, 14), image.Rect(1, 2, 4, 6)}},
	} {
		got, err := ParseArgs(strings.Fields(args))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", args, got, err)
		}
	}
}

func TestParseArgsRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--sepia":                       "not defined: -sepia",
		"--levels":                      "needs an argument: -levels",
		"--levels 1":                    "from 2 to 32",
		"--levels 33":                   "from 2 to 32",
		"--levels six":                  "from 2 to 32",
		"--levels 6.5":                  "from 2 to 32",
		"--radius 0":                    "from 1 to 16",
		"--radius -3":                   "from 1 to 16",
		"--radius 99999999999999999999": "from 1 to 16",
		"--blur 1,2,3":                  "x,y,w,h",
		"--blur 1,2,3,4,5":              "x,y,w,h",
		"--blur 1,2,0,4":                "w: want a number from 1",
		"--blur 1,-2,3,4":               "y: want a number from 0",
		"--blur 1,2,3,65537":            "h: want a number from 1",
		"--blur a,2,3,4":                "x: want",
		"--levels 6 cat.png":            `unexpected argument "cat.png"`,
		"-h":                            "usage:",
		strings.Repeat("--blur 1,1,1,1 ", MaxBlurs+1): "more than 64 rectangles",
	} {
		o, err := ParseArgs(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) || !reflect.DeepEqual(o, Options{}) {
			t.Errorf("%q: %+v, %v, want an error with %q", args, o, err, want)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{"", "--levels 6 --radius 4", "--blur 1,2,3,4 --blur=0,0,65536,65536", "--blur ,,,", "-h", "--", "--levels +7 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseArgs(strings.Split(s, " "))
		if err != nil {
			return
		}
		if o.Levels < MinLevels || o.Levels > MaxLevels || o.Radius < MinRadius || o.Radius > MaxRadius || len(o.Blur) > MaxBlurs {
			t.Fatalf("%q: %+v", s, o)
		}
		args := []string{fmt.Sprint("--levels=", o.Levels), fmt.Sprint("--radius=", o.Radius)}
		for _, r := range o.Blur {
			if r.Empty() || r.Min.X < 0 || r.Min.Y < 0 {
				t.Fatalf("%q: %v", s, r)
			}
			args = append(args, fmt.Sprintf("--blur=%d,%d,%d,%d", r.Min.X, r.Min.Y, r.Dx(), r.Dy()))
		}
		if again, err := ParseArgs(args); err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("%q: %+v, and written again %+v, %v", s, o, again, err)
		}
	})
}
