package task

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Error is an error that a person or a program can act on: a stable code,
// what happened, and where it is known who is at fault, where the money is,
// and what to do next.
type Error struct {
	Code  string `json:"code"`
	What  string `json:"what"`
	Fault string `json:"fault,omitempty"`
	Money string `json:"money,omitempty"`
	Next  string `json:"next,omitempty"`
}

func (e *Error) Error() string { return e.Code + ": " + e.What }

// Is matches by code, so that errors.Is(err, Refuse("nonce-low", "")) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// WithNext says what to type next.
func (e *Error) WithNext(format string, args ...any) *Error {
	c := *e
	c.Next = fmt.Sprintf(format, args...)
	return &c
}

// WithMoney says where the money is.
func (e *Error) WithMoney(format string, args ...any) *Error {
	c := *e
	c.Money = fmt.Sprintf(format, args...)
	return &c
}

// Refuse makes an Error with a code and a sentence.
func Refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, What: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of the first Error in err's chain, or "".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// ShellWord is a path as one word of a command that a person may type.
func ShellWord(path string) string {
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+:,@%", r)
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
