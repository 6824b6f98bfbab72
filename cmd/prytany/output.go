package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
)

// receiptPath is beside the output if nothing else was said, under the output's
// whole name: two outputs have two receipts.
func (o runOptions) receiptPath() (string, error) {
	if o.receipt != "" {
		return o.receipt, nil
	}
	path := filepath.Clean(o.output)
	if base := filepath.Base(path); base == "." || base == ".." || base == string(filepath.Separator) {
		return "", usage("--output %s gives the receipt no name; say --receipt FILE too", o.output)
	}
	return path + ".receipt.cbor", nil
}

// checkPlaces refuses what the result and the receipt could not be written to,
// as long as nothing is paid. It makes the directories that they need.
func (o runOptions) checkPlaces(m task.Manifest) error {
	receipt, err := o.receiptPath()
	if err != nil {
		return err
	}
	if samePath(o.output, receipt) {
		return usage("--output and --receipt are the same file, %s", receipt)
	}
	if _, err := os.Lstat(receipt); err == nil {
		return task.Refuse("receipt-exists", "%s is there already: the receipt of an earlier task is not overwritten", receipt).
			WithNext("--receipt FILE, or another --output")
	}
	if asDirectory(o.output) || len(m.Outputs) > 1 {
		err = writableDir(o.output)
	} else {
		err = writableFile(o.output)
	}
	if err == nil {
		err = writableFile(receipt)
	}
	if err != nil {
		return task.Refuse("output-unwritable", "%v", err).WithNext("another --output or --receipt")
	}
	return nil
}

func samePath(a, b string) bool {
	first, err := filepath.Abs(a)
	second, err2 := filepath.Abs(b)
	return err == nil && err2 == nil && first == second
}

// asDirectory says whether a path is one into which files go.
func asDirectory(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir() || strings.HasSuffix(path, string(filepath.Separator))
}

// writableFile tries what writing a file will take. A file that is there stays
// as it is, and one that is not is not left.
func writableFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = f.Close()
		return os.Remove(path)
	}
	if !os.IsExist(err) {
		return err
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil {
		return err
	}
	return f.Close()
}

func writableDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(path, ".prytany-")
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// writeOutput writes one file as path, several into it as a directory. How they
// are called is somebody else's choice, so their names are made visible.
func writeOutput(path string, files map[string][]byte) ([]string, error) {
	names := []string{}
	if len(files) == 1 && !asDirectory(path) {
		for _, data := range files {
			return []string{path}, disk.WriteSynced(path, data, 0o600)
		}
	}
	for name, data := range files {
		to := filepath.Join(path, filepath.FromSlash(visibleName(name)))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return names, err
		}
		if err := disk.WriteSynced(to, data, 0o600); err != nil {
			return names, err
		}
		names = append(names, to)
	}
	slices.Sort(names)
	return names, nil
}

// rescue writes what is paid for and could not go where it should: into the
// working directory, else into this user's.
func (a *app) rescue(name string, data []byte) (string, error) {
	err := disk.WriteSynced(name, data, 0o600)
	if err == nil {
		return name, nil
	}
	home, homeErr := a.userHome()
	if homeErr != nil {
		return "", err
	}
	path := filepath.Join(home, "rescued", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, disk.WriteSynced(path, data, 0o600)
}

// visibleName is a file's name of somebody else's, of characters that can be
// seen and on one line. Another name gives another.
func visibleName(name string) string {
	quoted := strconv.Quote(name)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
