package main

import (
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// A process that could judge otherwise than others does not begin to.
func TestWhoMayJudge(t *testing.T) {
	built := func(defaults string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "DefaultGODEBUG", Value: defaults}}}
	}
	for _, row := range []struct {
		godebug, release string
		info             *debug.BuildInfo
		code             string
	}{
		{"", "go1.26.8", nil, ""},
		{"", "go1.26.8", built(""), ""},
		{"x509negativeserial=1", "go1.26.8", nil, godebugSet},
		{"gctrace=1", "go1.26.8", nil, godebugSet}, // a list of harmless ones would be one more thing to keep
		{",", "go1.26.8", nil, godebugSet},
		{"", "go1.26.8", built("fips140=on"), godebugSet},
		{"", "go1.26.7", nil, goDiffers},
		{"", "go1.27.0", nil, goDiffers},
		{"", "go1.26.8 X:jsonv2", nil, goDiffers},
		{"", "devel go1.26-abc", nil, goDiffers},
	} {
		err := fitWith(row.godebug, row.release, "go1.26.8", row.info)
		e, _ := err.(*task.Error)
		if task.CodeOf(err) != row.code || e != nil && e.Next == "" {
			t.Errorf("%+v: %v", row, err)
		}
	}
}

// The release that is named is that of go.mod, which also says what settings hold.
func TestTheReleaseIsThatOfGoMod(t *testing.T) {
	raw, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^toolchain (go1\.26\.\d+)$`).FindSubmatch(raw)
	if m == nil || string(m[1]) != namedRelease || !strings.Contains(string(raw), "\ngodebug default=go1.26\n") {
		t.Errorf("go.mod says %s, the program %s", m, namedRelease)
	}
}
