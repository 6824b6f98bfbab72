// Command poster turns the picture in /in/input, a PNG or JPEG, into a
// poster, /out/out.png. Package effect says what it does and what arguments
// it takes.
package main

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg"
	"image/png"
	"os"

	"github.com/prytany/prytany/examples/poster/effect"
)

// maxPixels is how large a picture may be. A small file can claim to be a
// huge picture, so that its size is looked at before it is decoded.
const maxPixels = 40_000_000

func main() {
	if err := run("/in/input", "/out/out.png", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "poster:", err)                        // for Bob, when he tries it
		_ = os.WriteFile("/out/error.txt", []byte(err.Error()), 0o600) // for Alice
		os.Exit(1)
	}
}

func run(in, out string, args []string) error {
	options, err := effect.ParseArgs(args)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	src, err := decode(raw)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed} // whoever waits pays by the instruction
	if err := encoder.Encode(&buf, effect.Apply(src, options)); err != nil {
		return err
	}
	return os.WriteFile(out, buf.Bytes(), 0o600)
}

func decode(raw []byte) (image.Image, error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("the input is neither a PNG nor a JPEG: %w", err)
	}
	if int64(c.Width)*int64(c.Height) > maxPixels {
		return nil, fmt.Errorf("a picture of %d×%d pixels, more than %d million", c.Width, c.Height, maxPixels/1_000_000)
	}
	src, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", format, err)
	}
	return src, nil
}
