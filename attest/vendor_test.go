package attest

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// Whatever form the vendors' files have, and in whatever order they come, the
// quote is the one that a node would have shown.
func TestFromVendor(t *testing.T) {
	report, vcek, ask := vector(t, "sev-snp-genoa-report.bin"), vector(t, "sev-snp-genoa-vcek.der"), vector(t, "sev-snp-genoa-ask.der")
	text := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	snp := task.Encode(SNPQuote{Report: report, VCEK: vcek, ASK: ask})
	quote, parts := vector(t, "tdx-2025-quote.bin"), TDXCollateral{
		TCBInfo: vector(t, "tdx-2025-tcb-info.json"), QEIdentity: vector(t, "tdx-2025-qe-identity.json"),
		Signer: vector(t, "tdx-2025-signer.der"), RootCRL: vector(t, "tdx-2025-root-crl.der"), PCKCRL: vector(t, "tdx-2025-pck-crl.der"),
	}
	tdx := task.Encode(TDXQuote{Quote: quote, Collateral: parts})
	header := []byte("TCB-Info-Issuer-Chain: " + url.PathEscape(string(text(parts.Signer))) + "\r\n")
	answer := slices.Concat([]byte("HTTP/1.1 200 OK\r\n"), header, []byte("\r\n"), parts.TCBInfo)
	for name, row := range map[string]struct {
		raw    []byte
		beside [][]byte
		quote  []byte
		unused []int
	}{
		"DER":                              {report, [][]byte{vcek, ask}, snp, nil},
		"the other way round":              {report, [][]byte{ask, vcek}, snp, nil},
		"one PEM with both":                {report, [][]byte{slices.Concat([]byte("\ufeff"), text(vcek), text(ask))}, snp, nil},
		"AMD's table":                      {report, [][]byte{amdTable(vcek, ask)}, snp, nil},
		"an extended report":               {slices.Concat(report, amdTable(vcek, ask)), nil, snp, nil},
		"another chip's before and behind": {report, [][]byte{vector(t, "sev-snp-milan-vcek.der"), vector(t, "sev-snp-milan-ask.der"), vcek, ask, vector(t, "sev-snp-milan-vcek.der")}, snp, []int{0, 1, 4}},
		"something else":                   {report, [][]byte{[]byte("# read me"), vcek, ask, parts.TCBInfo}, snp, []int{0, 3}},
		"collateral":                       {quote, [][]byte{parts.TCBInfo, parts.QEIdentity, parts.Signer, parts.RootCRL, parts.PCKCRL}, tdx, nil},
		"collateral, another way round":    {quote, [][]byte{parts.PCKCRL, parts.RootCRL, header, append([]byte(" \n"), parts.QEIdentity...), parts.TCBInfo}, tdx, nil},
		"collateral with its header":       {quote, [][]byte{answer, parts.QEIdentity, parts.RootCRL, parts.PCKCRL}, tdx, nil},
		"another platform's":               {quote, [][]byte{parts.TCBInfo, vector(t, "tdx-2023-tcb-info.json"), parts.QEIdentity, parts.Signer, parts.RootCRL, parts.PCKCRL}, tdx, []int{1}},
	} {
		v, err := FromVendor(row.raw, row.beside...)
		if err != nil || len(v.Missing) > 0 {
			t.Errorf("%s: missing %q, %v", name, v.Missing, err)
			continue
		}
		if !bytes.Equal(v.Quote, row.quote) {
			t.Errorf("%s: another quote", name)
		}
		if !slices.Equal(v.Unused, row.unused) {
			t.Errorf("%s: unused %v, want %v", name, v.Unused, row.unused)
		}
	}
	for name, raw := range map[string][]byte{
		"nothing": nil, "words": []byte("words"), "a report that is cut off": report[:1183], "a report with rubbish behind it": slices.Concat(report, []byte("rubbish")),
		"a quote that is cut off": quote[:2000], "a document that is cut off": vector(t, "nitro.cbor")[:2000], "a certificate": vcek,
	} {
		if v, err := FromVendor(raw); err == nil {
			t.Errorf("%s was taken for %s", name, v.Kind)
		}
	}
}

func amdTable(vcek, ask []byte) []byte {
	entry := func(name [16]byte, from, size int) []byte {
		b := binary.LittleEndian.AppendUint32(name[:], uint32(from))
		return binary.LittleEndian.AppendUint32(b, uint32(size))
	}
	return slices.Concat(entry([16]byte{1}, 72, len(vcek)), entry([16]byte{2}, 72+len(vcek), len(ask)), make([]byte, 24), vcek, ask)
}

// What is missing is told with the place where it is, if there is one.
func TestWhereTheVCEKIs(t *testing.T) {
	genoa := vector(t, "sev-snp-genoa-report.bin")
	for name, row := range map[string]struct {
		change func(r []byte)
		want   string
	}{
		"Genoa":            {func([]byte) {}, "https://kdsintf.amd.com/vcek/v1/Genoa/0506ffba875e939c2729d20c74eb72b4c5ba6bf7ea1faaa640141f12c6d64782fb487f68ce69dcd021e914cc0d9244327bc121f0242d6470903ad1d4aaea4ad1?blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84"},
		"Bergamo":          {func(r []byte) { r[0x189] = 0xa0 }, "/vcek/v1/Genoa/0506"},
		"Turin":            {func(r []byte) { r[0x188], r[0x189] = 0x1a, 0x11 }, "/vcek/v1/Turin/0506ffba875e939c?fmcSPL=10&blSPL=0&teeSPL=0&snpSPL=0&ucodeSPL=84"},
		"Milan":            {func(r []byte) { r[0x189] = 1 }, "/vcek/v1/Milan/0506"},
		"one of version 2": {func(r []byte) { r[0] = 2; clear(r[0x188:0x18b]) }, "PRODUCT is Milan, Genoa or Turin"},
	} {
		r := slices.Clone(genoa)
		row.change(r)
		v, err := FromVendor(r)
		if err != nil || len(v.Missing) != 2 || !strings.Contains(v.Missing[0], row.want) {
			t.Errorf("%s: %q, %v; want %q", name, v.Missing, err, row.want)
		}
	}
}

// A report that names no chip is refused by every chain, and nobody is sent for files
// that could not help.
func TestReportsThatNoFileHelps(t *testing.T) {
	for name, row := range map[string]struct {
		change func(r []byte)
		says   string
	}{
		"signed by a VLEK":         {func(r []byte) { r[0x48] |= 1 << 2 }, "VLEK"},
		"signed by no key":         {func(r []byte) { r[0x48] |= 7 << 2 }, "by no key"},
		"the key is withheld":      {func(r []byte) { r[0x48] |= 2 }, "by no key"},
		"the chip's id is masked":  {func(r []byte) { clear(r[0x1A0:0x1E0]) }, "masked"},
		"signed by a reserved key": {func(r []byte) { r[0x48] |= 3 << 2 }, "reserved"},
	} {
		for beside, with := range map[string][][]byte{
			"alone": nil, "with certificates": {vector(t, "sev-snp-genoa-vcek.der"), vector(t, "sev-snp-genoa-ask.der")},
		} {
			r := slices.Clone(vector(t, "sev-snp-genoa-report.bin"))
			row.change(r)
			v, err := FromVendor(r, with...)
			if err != nil || len(v.Missing) > 0 || v.Refused == nil || !strings.Contains(v.Refused.What, row.says) {
				t.Errorf("%s, %s: missing %q, refused %v, %v", name, beside, v.Missing, v.Refused, err)
				continue
			}
			// It is what a chain says when it is shown the same.
			ref := Reference{Kinds: []Kind{SEVSNP}}
			q := task.Encode(SNPQuote{Report: r, VCEK: vector(t, "sev-snp-genoa-vcek.der"), ASK: vector(t, "sev-snp-genoa-ask.der")})
			if _, err := (Evidence{Kind: SEVSNP, Quote: q}).Claims(Expected{Now: 1_771_600_000}, ref); err == nil {
				t.Errorf("%s: a chain takes it", name)
			}
			if rows := v.Describe(rigTime, ref); rows[1].Holds == nil || *rows[1].Holds || !strings.Contains(rows[1].Actual, row.says) {
				t.Errorf("%s: %+v", name, rows[1])
			}
		}
	}
}
