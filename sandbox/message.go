package sandbox

import (
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// MessageFile is the file in /out that a function explains its failure by, to
// Alice and in words of its author's choice. Of a run that ends well it is an
// output like any other.
const MessageFile = "error.txt"

// MaxMessage is how much of it is given, in bytes.
const MaxMessage = 4 << 10

// ReadMessage reads a message from a function, which may be anything: what is no
// UTF-8 becomes U+FFFD, and what is too long is cut off.
func ReadMessage(r io.Reader) string {
	data, _ := io.ReadAll(io.LimitReader(r, MaxMessage)) // if no more can be read, that is the message
	text := strings.ToValidUTF8(string(data), "\ufffd")
	for len(text) > MaxMessage {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return text
}

// FileMessage reads the message out of a directory that a function could write
// to. It follows no link and opens nothing but a plain file.
func FileMessage(out fs.FS) string {
	st, err := fs.Lstat(out, MessageFile)
	if err != nil || !st.Mode().IsRegular() {
		return ""
	}
	f, err := out.Open(MessageFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	return ReadMessage(f)
}
