package attest

import (
	"bytes"
	"slices"
	"testing"
)

// A TPM counts as a chip only if its certificate says that somebody made one. Names and
// numbers are those of certificates that are found in the field.
func TestSoftwareTPMs(t *testing.T) {
	for _, row := range []struct {
		what, manufacturer, model string
		software                  bool
	}{
		{"Infineon's chip", "id:49465800", "SLB9670", false},
		{"STMicroelectronics' chip", "id:53544D20", "ST33HTPHAHD4", false},
		{"Nuvoton's chip", "id:4E544300", "NPCT75x", false},
		{"Intel's firmware", "id:494E5443", "ADL", false},
		{"AMD's firmware, in lower case", "id:414d4400", "AMD", false},
		{"swtpm", "id:00001014", "swtpm", true},
		{"swtpm that says another maker", "id:494E5443", "swtpm", true},
		{"Google's", "id:474F4F47", "vTPM", true},
		{"Google's under another model", "id:474F4F47", "T1", true},
		{"Microsoft's: Azure's and Hyper-V's", "id:4D534654", "Hyper-V vTPM", true},
		{"Microsoft's under another model", "id:4D534654", "xCG fTPM", true},
		{"VMware's", "id:564D5700", "VMware TPM2", true},
		{"Amazon's", "id:414D5A4E", "NitroTPM", true},
		{"IBM's simulator", "id:49424D00", "SW   TPM", true},
		{"a chip maker's program in a VM", "id:494E5443", "vTPM-TD", true},
		{"the registry's simulators", "id:53494D30", "SIM", true},
		{"nobody's", "id:FFFFF1D0", "FIDO test", true},
		{"no number", "Infineon", "SLB9670", true},
	} {
		if m := (TPMModel{Manufacturer: row.manufacturer, Model: row.model}); m.Software() != row.software {
			t.Errorf("%s (%s): software %t, want %t", row.what, m, m.Software(), row.software)
		}
	}
	seen := map[string]bool{}
	for _, id := range chipMakers {
		if seen[id] || len(id) != 8 {
			t.Errorf("%q stands twice, or is no number of four bytes", id)
		}
		seen[id] = true
	}
}

// However a maker has put its certificate into the TPM, it is the same one. Such forms
// are known from the field; what is in them here is the test's own.
func TestStoredCertificate(t *testing.T) {
	cert := newRig(t, TPM).tpm.ek.cert.Raw
	size := func(n int) []byte { return []byte{byte(n >> 8), byte(n)} }
	header := []byte{0x10, 0x01, 0}
	for _, row := range []struct {
		what string
		held []byte
		good bool
	}{
		{"as it is", cert, true},
		{"filled up with zeros", slices.Concat(cert, make([]byte, 300)), true},
		{"filled up with ones (STMicroelectronics)", slices.Concat(cert, bytes.Repeat([]byte{0xff}, 300)), true},
		{"behind the TCG's header", slices.Concat(header, size(len(cert)), cert), true},
		{"behind the TCG's header, and filled up", slices.Concat(header, size(len(cert)), cert, make([]byte, 9)), true},
		{"behind both of the TCG's tags", slices.Concat(header, size(len(cert)+2), []byte{0x10, 0x02}, cert), true},
		{"a header for more than is there", slices.Concat(header, size(len(cert)+1), cert), false},
		{"a header for less than it is", slices.Concat(header, size(len(cert)-1), cert), false},
		{"a header alone", header, false},
		{"a header and half a size", append(header[:3:3], 1), false},
		{"a certificate that is cut off", cert[:len(cert)-1], false},
		{"a partial certificate, which is none", slices.Concat([]byte{0x10, 0x01, 1}, size(len(cert)), cert), false},
		{"something else", bytes.Repeat([]byte{0xff}, 300), false},
		{"another certificate", newRig(t, SEVSNP).snp.vcek.cert.Raw, false},
		{"nothing", nil, false},
	} {
		got, err := StoredCertificate(row.held)
		if (err == nil) != row.good || row.good && !bytes.Equal(got, cert) {
			t.Errorf("%s: %v, %t bytes alike", row.what, err, bytes.Equal(got, cert))
		}
	}
}

// Whatever a TPM holds: no panic, and what comes out is a certificate, whole, from there.
func FuzzStoredCertificate(f *testing.F) {
	cert := newRig(f, TPM).tpm.ek.cert.Raw
	f.Add(cert)
	f.Add(slices.Concat([]byte{0x10, 0x01, 0, byte(len(cert) >> 8), byte(len(cert))}, cert, []byte{0xff}))
	f.Fuzz(func(t *testing.T, held []byte) {
		got, err := StoredCertificate(held)
		if err != nil {
			return
		}
		if _, _, err := readEKCert(got); err != nil || !bytes.Contains(held, got) {
			t.Fatalf("%v: %x", err, got)
		}
		if again, err := StoredCertificate(got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("another one when it is taken out again: %v", err)
		}
	})
}
