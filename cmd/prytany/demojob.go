package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg" // pictures that Alice may bring
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/examples/picture"
	"github.com/prytany/prytany/examples/poster/effect"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/docker"
	"github.com/prytany/prytany/task"
)

// demoJob is what a demo has done, by one runtime: Bob's function, what Alice
// brings and asks of it, and how to tell that the result is right.
type demoJob struct {
	example   string // Bob's, to be loaded; else made is what he has
	made      function.Source
	preparing string
	input     string // the name of Alice's file for the function
	are       string // what it is, in words, with a verb
	data      []byte
	args      []string
	output    string
	check     func(got []byte) (same bool, err error)
	write     func(dir string, got []byte) (demoFiles, error)
}

// What a demo can play.
const (
	jobPicture    = "picture"
	jobValidation = "validation"
)

// demoJob chooses the job, and says what this machine lacks for it.
func (a *app) demoJob(ctx context.Context, o demoOptions) (demoJob, error) {
	switch o.job {
	case jobPicture:
		return a.pictureJob(ctx, o)
	case jobValidation:
		return a.validationJob(ctx, o)
	}
	return demoJob{}, usage("--job: %q is none of %s, %s", o.job, jobPicture, jobValidation)
}

func writePicture(dir string, got []byte) (demoFiles, error) {
	files := demoFiles{Picture: filepath.Join(dir, "out.png")}
	return files, os.WriteFile(files.Picture, got, 0o644)
}

const demoLevels = 6

// pictureJob is a picture's, by each of the runtimes.
func (a *app) pictureJob(ctx context.Context, o demoOptions) (j demoJob, err error) {
	raw := picture.JPEG()
	if o.input != "" {
		if raw, err = disk.ReadPiped(o.input, task.MaxBlob); err != nil {
			return j, task.Refuse("input-unreadable", "%v", err)
		}
	}
	src, err := opaque(raw)
	if err != nil {
		return j, task.Refuse("input-type", "the picture is no PNG or JPEG: %v", err)
	}
	r := picture.Number // which Alice hides in the built-in picture
	rect := fmt.Sprintf("%d,%d,%d,%d", r.Min.X, r.Min.Y, r.Dx(), r.Dy())
	switch o.runtime {
	case task.RuntimeWasm:
		j = demoJob{example: "poster", input: "input", data: raw, args: []string{"--levels", fmt.Sprint(demoLevels), "--radius", "4"},
			preparing: "compiling Bob's function from Go source to WASM (cached after the first time)"}
		if o.input == "" {
			j.args = append(j.args, "--blur", rect)
		}
		j.are, j.output, j.write = "picture is", "out.png", writePicture
		j.check = func(got []byte) (bool, error) { return sameAsDirect(raw, got, j.args) }
		return j, nil
	case task.RuntimePython:
		j = demoJob{example: "python", preparing: "Bob's function: Python with its standard library alone, on the WASI interpreter"}
	case task.RuntimeOCI:
		j = demoJob{example: "pillow", preparing: "Bob's function: Python with Pillow, in a container"}
		name, err := pickContainer(ctx, o.oci)
		if err != nil {
			return j, err
		}
		j.preparing += " by " + name
	case task.RuntimeDocker:
		j = demoJob{example: "pillow", preparing: "Bob's function: Python with Pillow, in a container by a Docker-compatible engine"}
		if err := a.probeDocker(ctx); err != nil {
			return j, err
		}
	default:
		return j, usage("--runtime: %q is none of %s", o.runtime, strings.Join(task.Runtimes, ", "))
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, src); err != nil {
		return j, err
	}
	j.are, j.output, j.write = "picture is", "out.png", writePicture
	j.input, j.data, j.args = "photo.png", buf.Bytes(), []string{"--levels", fmt.Sprint(demoLevels)}
	hidden := image.Rectangle{}
	if o.input == "" {
		hidden, j.args = r, append(j.args, "--hide", rect)
	}
	j.check = func(got []byte) (bool, error) { return samePixels(posterised(src, demoLevels, hidden), got) }
	return j, nil
}

// pickContainer is the name of the runtime that containers would run by.
func pickContainer(ctx context.Context, oci []string) (string, error) {
	k, err := container.Pick(ctx, oci...)
	if err != nil {
		return "", task.Refuse("runtime-unavailable", "%v", err).WithNext("prytany doctor")
	}
	defer k.Close()
	return k.Name(), nil
}

// probeDocker says what the runtime docker lacks.
func (a *app) probeDocker(ctx context.Context) error {
	p, err := a.programs().Find(ctx, host.DockerProgram)
	if err != nil {
		return err
	}
	defer p.Close()
	if s := docker.Probe(ctx, docker.Config{Socket: dockerSocket(), Init: p.Path()}); !s.Available {
		return task.Refuse("runtime-unavailable", "%s. %s", s.Why, s.Hint).WithNext("prytany doctor")
	}
	return nil
}

// opaque is a picture without alpha.
func opaque(raw []byte) (*image.NRGBA, error) {
	src, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	dst := image.NewNRGBA(image.Rect(0, 0, src.Bounds().Dx(), src.Bounds().Dy()))
	draw.Draw(dst, dst.Bounds(), src, src.Bounds().Min, draw.Src)
	for i := 3; i < len(dst.Pix); i += 4 {
		dst.Pix[i] = 255
	}
	return dst, nil
}

// posterised is what the functions in Python do, done here: blocks over a
// rectangle, then few levels.
func posterised(src *image.NRGBA, levels int, hidden image.Rectangle) *image.NRGBA {
	const side = 16
	dst := image.NewNRGBA(src.Bounds())
	copy(dst.Pix, src.Pix)
	hidden = hidden.Intersect(src.Bounds())
	for y := hidden.Min.Y; y < hidden.Max.Y; y += side {
		for x := hidden.Min.X; x < hidden.Max.X; x += side {
			flatten(dst, image.Rect(x, y, x+side, y+side).Intersect(hidden))
		}
	}
	for i, v := range dst.Pix {
		if i%4 != 3 {
			dst.Pix[i] = byte(int(v) * levels / 256 * 255 / (levels - 1))
		}
	}
	return dst
}

// flatten gives all pixels of a block their mean.
func flatten(p *image.NRGBA, block image.Rectangle) {
	each := func(do func(at int)) {
		for y := block.Min.Y; y < block.Max.Y; y++ {
			for x := block.Min.X; x < block.Max.X; x++ {
				do(p.PixOffset(x, y))
			}
		}
	}
	var sum [3]int
	each(func(at int) {
		for c := range sum {
			sum[c] += int(p.Pix[at+c])
		}
	})
	each(func(at int) {
		for c := range sum {
			p.Pix[at+c] = byte(sum[c] / (block.Dx() * block.Dy()))
		}
	})
}

// sameAsDirect runs the function's own code natively on the same input.
func sameAsDirect(input, got []byte, args []string) (bool, error) {
	src, _, err := image.Decode(bytes.NewReader(input))
	if err != nil {
		return false, err
	}
	options, err := effect.ParseArgs(args)
	if err != nil {
		return false, err
	}
	return samePixels(effect.Apply(src, options), got)
}

// samePixels compares pictures by how they are encoded here.
func samePixels(want image.Image, got []byte) (bool, error) {
	have, err := png.Decode(bytes.NewReader(got))
	if err != nil {
		return false, err
	}
	var a, b bytes.Buffer
	if err := png.Encode(&a, want); err != nil {
		return false, err
	}
	if err := png.Encode(&b, have); err != nil {
		return false, err
	}
	return bytes.Equal(a.Bytes(), b.Bytes()), nil
}
