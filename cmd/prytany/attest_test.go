package main

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

var updateGolden = flag.Bool("update-golden", false, "write the golden files anew")

// Real evidence in words, at its own time and long after.
func TestAttestShow(t *testing.T) {
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join("../../spec/vectors/evidence", name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	keys := attest.Keys{Sign: task.Key{1}}
	snp := func(name string) []byte {
		return task.Encode(attest.Evidence{Kind: attest.SEVSNP, Round: task.PreRun, Keys: keys, State: attest.EmptyState, Quote: task.Encode(attest.SNPQuote{
			Report: read(name + "-report.bin"), VCEK: read(name + "-vcek.der"), ASK: read(name + "-ask.der"),
		})})
	}
	genoa, milan := snp("sev-snp-genoa"), snp("sev-snp-milan")
	tdx := task.Encode(attest.Evidence{Kind: attest.TDX, Round: task.PreRun, Keys: keys, State: attest.EmptyState, Quote: task.Encode(attest.TDXQuote{
		Quote: read("tdx-2025-quote.bin"), Collateral: attest.TDXCollateral{
			TCBInfo: read("tdx-2025-tcb-info.json"), QEIdentity: read("tdx-2025-qe-identity.json"),
			Signer: read("tdx-2025-signer.der"), RootCRL: read("tdx-2025-root-crl.der"), PCKCRL: read("tdx-2025-pck-crl.der"),
		},
	})})
	beside := func(name string, parts ...string) (args []string) {
		for _, p := range parts {
			args = append(args, "--with", filepath.Join("../../spec/vectors/evidence", name+"-"+p))
		}
		return args
	}
	vlek := bytes.Clone(read("sev-snp-genoa-report.bin"))
	vlek[0x48] |= 1 << 2
	inHex := []byte(hex.EncodeToString(read("tdx-2025-quote.bin")) + "\n")
	hcl := slices.Concat([]byte("HCLA"), make([]byte, 28), read("sev-snp-genoa-report.bin"), []byte{20, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	inJSON := fmt.Appendf(nil, `{"quote":"%x"}`, hcl)
	at := func(when string, args ...string) []string { return append(args, "--at", when) }
	nitro := task.Encode(attest.Evidence{Kind: attest.Nitro, Round: task.PostRun, Keys: keys, State: attest.EmptyState, Quote: task.Encode(attest.NitroQuote{Document: read("nitro.cbor")})})
	for _, row := range []struct {
		golden string
		raw    []byte
		args   []string
		code   int
	}{
		{"sev-snp.txt", genoa, []string{"--at", "2026-02-20T00:00:00Z"}, 0},
		{"sev-snp-debug.txt", milan, []string{"--at", "2023-01-01T00:00:00Z"}, 1},
		{"sev-snp-expired.txt", genoa, []string{"--at", "2033-01-01T00:00:00Z"}, 1},
		{"tdx.txt", tdx, []string{"--at", "2025-07-01T00:00:00Z"}, 0},
		{"tdx-stale.txt", tdx, []string{"--at", "2025-09-01T00:00:00Z"}, 1},
		{"nitro.txt", nitro, []string{"--at", "2024-09-07T14:40:00Z"}, 0},
		{"nitro.json", nitro, []string{"--at", "2024-12-07T14:40:00Z", "--json"}, 1},
		{"rubbish.txt", []byte("rubbish"), nil, 2},
		// As the vendors' tools write it.
		{"vendor-sev-snp.txt", read("sev-snp-genoa-report.bin"), at("2026-02-20T00:00:00Z", beside("sev-snp-genoa", "vcek.der", "ask.der")...), 0},
		{"vendor-sev-snp-more.txt", read("sev-snp-genoa-report.bin"), at("2026-02-20T00:00:00Z", append(beside("sev-snp-milan", "vcek.der", "ask.der"), beside("sev-snp-genoa", "vcek.der", "ask.der")...)...), 0},
		{"vendor-sev-snp-other.txt", read("sev-snp-genoa-report.bin"), at("2026-02-20T00:00:00Z", beside("sev-snp-milan", "vcek.der", "ask.der", "report.bin")...), 1},
		{"vendor-sev-snp-alone.txt", read("sev-snp-genoa-report.bin"), nil, 2},
		{"vendor-sev-snp-milan-alone.txt", read("sev-snp-milan-report.bin"), beside("sev-snp-milan", "vcek.der"), 2},
		{"vendor-tdx.txt", read("tdx-2025-quote.bin"), at("2025-07-01T00:00:00Z", beside("tdx-2025", "tcb-info.json", "qe-identity.json", "signer.der", "root-crl.der", "pck-crl.der")...), 0},
		{"vendor-tdx-more.txt", read("tdx-2025-quote.bin"), at("2025-07-01T00:00:00Z", append(beside("tdx-2025", "pck-crl.der", "root-crl.der", "signer.der", "qe-identity.json", "tcb-info.json"), beside("tdx-2023", "tcb-info.json")...)...), 0},
		{"vendor-tdx-alone.txt", read("tdx-2025-quote.bin"), nil, 2},
		{"vendor-tdx-short.txt", read("tdx-2025-quote.bin")[:2000], nil, 2},
		{"vendor-sev-snp-vlek.txt", vlek, beside("sev-snp-genoa", "vcek.der"), 1},
		{"vendor-sev-snp-milan.txt", read("sev-snp-milan-report.bin"), at("2023-01-01T00:00:00Z", beside("sev-snp-milan", "vcek.der", "ask.der")...), 1},
		{"vendor-azure.txt", inJSON, at("2026-02-20T00:00:00Z", beside("sev-snp-genoa", "vcek.der", "ask.der")...), 1}, // made here: it is over no data
		{"vendor-tdx-hex.txt", inHex, at("2025-07-01T00:00:00Z", beside("tdx-2025", "tcb-info.json", "qe-identity.json", "signer.der", "root-crl.der", "pck-crl.der")...), 0},
		{"vendor-certificate.txt", read("sev-snp-genoa-vcek.der"), nil, 2},
		{"vendor-sev-snp.json", read("sev-snp-genoa-report.bin"), at("2026-02-20T00:00:00Z", append(beside("sev-snp-genoa", "vcek.der", "ask.der"), "--json")...), 0},
		{"vendor-sev-snp-alone.json", read("sev-snp-milan-report.bin"), []string{"--json"}, 2},
		{"vendor-tdx-hex.json", inHex, []string{"--json"}, 2},
		{"vendor-certificate.json", read("sev-snp-genoa-vcek.der"), []string{"--json"}, 2},
		{"vendor-nitro-late.txt", read("nitro.cbor"), at("2026-01-01T00:00:00Z"), 1},
		{"vendor-nitro.txt", read("nitro.cbor"), at("2024-09-07T14:40:00Z"), 0},
		{"vendor-nitro-debug.txt", read("nitro-debug.cbor"), at("2024-09-07T14:40:00Z"), 1},
	} {
		path := filepath.Join(t.TempDir(), "evidence.cbor")
		if err := os.WriteFile(path, row.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		if code := run(append([]string{"attest", "show", path}, row.args...), strings.NewReader(""), &out, &errOut); code != row.code {
			t.Errorf("%s: exit code %d, want %d: %s%s", row.golden, code, row.code, &out, &errOut)
		}
		golden, got := filepath.Join("testdata/attest", row.golden), append(out.Bytes(), errOut.Bytes()...)
		if *updateGolden {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", row.golden, got, want)
		}
	}
}
