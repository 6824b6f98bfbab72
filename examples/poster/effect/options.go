package effect

import (
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"strconv"
	"strings"
)

// What options may ask for.
const (
	DefaultLevels, MinLevels, MaxLevels = 6, 2, 32
	DefaultRadius, MinRadius, MaxRadius = 4, 1, 16

	MaxBlurs = 64      // rectangles
	maxCoord = 1 << 16 // of a rectangle
)

// Options say what Apply does. Their zero value is the default.
type Options struct {
	Levels int               // of brightness; 0 stands for DefaultLevels
	Radius int               // of the smoothing, in pixels; 0 stands for DefaultRadius
	Blur   []image.Rectangle // what to hide, counted from the picture's top left corner
}

// ParseArgs reads the function's arguments:
//
//	--levels n        levels of brightness, 2 to 32
//	--radius n        radius of the smoothing in pixels, 1 to 16
//	--blur x,y,w,h    hide this rectangle; may be repeated
func ParseArgs(args []string) (Options, error) {
	o := Options{Levels: DefaultLevels, Radius: DefaultRadius}
	f := flag.NewFlagSet("poster", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("levels", "", func(s string) (err error) {
		o.Levels, err = parseInt(s, MinLevels, MaxLevels)
		return err
	})
	f.Func("radius", "", func(s string) (err error) {
		o.Radius, err = parseInt(s, MinRadius, MaxRadius)
		return err
	})
	f.Func("blur", "", func(s string) error {
		if len(o.Blur) == MaxBlurs {
			return fmt.Errorf("more than %d rectangles", MaxBlurs)
		}
		r, err := parseRectangle(s)
		o.Blur = append(o.Blur, r)
		return err
	})
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		err = errors.New("usage: [--levels n] [--radius n] [--blur x,y,w,h]...")
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err != nil {
		return Options{}, err
	}
	return o, nil
}

func parseInt(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("want a number from %d to %d", least, most)
	}
	return n, nil
}

func parseRectangle(s string) (image.Rectangle, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return image.Rectangle{}, errors.New("want x,y,w,h")
	}
	var v [4]int
	for i, p := range parts {
		n, err := parseInt(p, i/2, maxCoord) // 0,0 is a place, but a side must have a length
		if err != nil {
			return image.Rectangle{}, fmt.Errorf("%c: %w", "xywh"[i], err)
		}
		v[i] = n
	}
	return image.Rect(v[0], v[1], v[0]+v[2], v[1]+v[3]), nil
}

// complete fills in the defaults, and bounds what did not come from ParseArgs.
func (o Options) complete() Options {
	if o.Levels == 0 {
		o.Levels = DefaultLevels
	}
	if o.Radius == 0 {
		o.Radius = DefaultRadius
	}
	o.Levels = min(max(o.Levels, MinLevels), MaxLevels)
	o.Radius = min(max(o.Radius, MinRadius), MaxRadius)
	return o
}
