package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/examples/poster/effect"
)

// file puts a file into a directory of its own.
func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, 40, 30))
	for i := range img.Pix {
		img.Pix[i] = uint8(i%4*60 + i/160)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func TestRun(t *testing.T) {
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, sample()); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, sample(), nil); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"png": asPNG.Bytes(), "jpeg": asJPEG.Bytes()} {
		out := filepath.Join(t.TempDir(), "out.png")
		if err := run(file(t, raw), out, []string{"--levels", "4", "--blur", "5,5,10,10"}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		src, _, _ := image.Decode(bytes.NewReader(raw))
		want := effect.Apply(src, effect.Options{Levels: 4, Blur: []image.Rectangle{image.Rect(5, 5, 15, 15)}})
		if got.Bounds() != want.Bounds() {
			t.Fatalf("%s: bounds %v", name, got.Bounds())
		}
		if rgba, ok := got.(*image.RGBA); !ok || !slices.Equal(rgba.Pix, want.Pix) {
			t.Errorf("%s: not what Apply gives", name)
		}
	}
}

// huge is the start of a PNG that claims a size.
func huge(w, h uint32) []byte {
	chunk := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), w), h), 8, 6, 0, 0, 0)
	raw := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), chunk...)
	return binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(chunk))
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		args []string
		want string
	}{
		{[]byte("GIF89a"), nil, "neither a PNG nor a JPEG"},
		{nil, nil, "neither a PNG nor a JPEG"},
		{huge(8000, 5001), nil, "8000×5001 pixels, more than 40 million"},
		{huge(1<<31-1, 1<<31-1), nil, "a PNG nor a JPEG"}, // the decoder knows better by itself
		{huge(8, 8), nil, "reading the png"},
		{huge(8, 8), []string{"--levels", "99"}, "levels"},
	} {
		out := filepath.Join(t.TempDir(), "out.png")
		err := run(file(t, c.in), out, c.args)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("there is an output")
		}
	}
	if err := run("/nonexistent/input", "", nil); err == nil {
		t.Error("no input, and no error")
	}
}
