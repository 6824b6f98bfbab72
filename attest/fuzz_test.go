package attest

import (
	"bytes"
	"os"
	"testing"

	"github.com/prytany/prytany/task"
)

// fuzzKind throws bytes at a kind's verifier. It may refuse, never panic, and
// what it takes must be in its one form; nothing is good for a task that it is
// not bound to.
func fuzzKind(f *testing.F, k Kind) {
	r := newRig(f, k)
	f.Add(r.ev.Quote)
	f.Add(kinds[k].unsign(r.ev.Quote))
	if k == TDX {
		five := *r.tdx
		five.version5(true)
		quote, err := five.Quote(task.Hash{1})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(quote)
	}
	for _, rec := range recordings(f) {
		if rec.kind == k { // under the vendor's root as well
			f.Add(rec.quote)
			r.ref.SNP.Roots = append(r.ref.SNP.Roots, arkMilan)
			r.ref.SNP.Products = []string{"Milan", "Genoa"}
			r.ref.TDX.Roots = append(r.ref.TDX.Roots, intelRoot)
			r.ref.Nitro.Roots = append(r.ref.Nitro.Roots, awsRoot)
		}
	}
	f.Fuzz(func(t *testing.T, quote []byte) {
		ev := Evidence{Kind: k, Round: task.PreRun, Quote: quote}
		_ = ev.Boots()
		c, err := kinds[k].verify(quote, r.want, r.ref) // not by Claims, which hides a panic
		if err != nil {
			if err.Code == "" {
				t.Fatalf("refused without a reason code: %v", err)
			}
			return
		}
		if bad := kinds[k].unsign(quote); bytes.Equal(bad, quote) {
			t.Fatal("a spoiled signature is the same")
		}
		ev.Keys, ev.State = r.keys, EmptyState
		want := r.want
		want.Chip, want.Context.Task = c.Chip, task.TaskID{0xff} // nothing is bound to this
		ref := r.ref
		ref.Measurements = []task.Hash{c.Measurement}
		ev.Nonce, want.Nonce = task.Hash{}, task.Hash{}
		if Appraise(ev, want, task.Policy{}, ref).Verdict == task.OK {
			t.Fatal("evidence of something else was found good")
		}
	})
}

func FuzzVerifySimulated(f *testing.F) { fuzzKind(f, Simulated) }
func FuzzVerifyTPM(f *testing.F)       { fuzzKind(f, TPM) }
func FuzzVerifySNP(f *testing.F)       { fuzzKind(f, SEVSNP) }
func FuzzVerifyTDX(f *testing.F)       { fuzzKind(f, TDX) }
func FuzzVerifyNitro(f *testing.F)     { fuzzKind(f, Nitro) }

// The parts of a quote reach the vendors' parsers without CBOR around them.
func FuzzVendorParts(f *testing.F) {
	snp, tdx, pm, nitro := newRig(f, SEVSNP), newRig(f, TDX), newRig(f, TPM), newRig(f, Nitro)
	for _, rec := range recordings(f) {
		f.Add(rec.quote, uint8(0))
	}
	f.Add(vector(f, "sev-snp-milan-report.bin"), uint8(0))
	f.Add(vector(f, "tdx-2023-quote.bin"), uint8(1))
	f.Add(vector(f, "nitro.cbor"), uint8(2))
	f.Add(vector(f, "tdx-2023-tcb-info.json"), uint8(3))
	tpm := mustDecode[TPMQuote](pm.ev.Quote)
	f.Add(tpm.Attest, uint8(4))
	f.Add(tpm.Keys.AK, uint8(5))
	f.Add(tpm.Signature, uint8(6))
	f.Add(tpm.Keys.EKCert, uint8(7))
	f.Fuzz(func(t *testing.T, part []byte, which uint8) {
		var r *rig
		var quote []byte
		switch which % 8 {
		case 0:
			q := mustDecode[SNPQuote](snp.ev.Quote)
			q.Report = part
			r, quote = snp, task.Encode(q)
		case 1:
			q := mustDecode[TDXQuote](tdx.ev.Quote)
			q.Quote = part
			r, quote = tdx, task.Encode(q)
		case 2:
			r, quote = nitro, task.Encode(NitroQuote{Document: part})
		case 3:
			q := mustDecode[TDXQuote](tdx.ev.Quote)
			q.Collateral.TCBInfo, q.Collateral.QEIdentity = part, part
			r, quote = tdx, task.Encode(q)
		default:
			q := mustDecode[TPMQuote](pm.ev.Quote)
			*[]*[]byte{&q.Attest, &q.Keys.AK, &q.Signature, &q.Keys.EKCert}[which%4] = part
			r, quote = pm, task.Encode(q)
		}
		_, err := kinds[r.kind].verify(quote, r.want, r.ref) // not by Claims, which hides a panic
		twice := which%8 >= 6                                // the seeds hold what the same keys have signed once more
		if err == nil && !twice && !bytes.Equal(quote, r.ev.Quote) {
			t.Fatalf("accepted a part that nobody signed: %x", part)
		}
	})
}

// A vendor's file and one beside it, of which either may be anything.
func FuzzFromVendor(f *testing.F) {
	dir := "../spec/vectors/evidence"
	list, err := os.ReadDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	genoa, tdx := vector(f, "sev-snp-genoa-report.bin"), vector(f, "tdx-2025-quote.bin")
	for _, e := range list {
		b := vector(f, e.Name())
		f.Add(b, tdx)
		f.Add(genoa, b)
		f.Add(tdx, b)
	}
	f.Fuzz(func(t *testing.T, raw, beside []byte) {
		v, err := FromVendor(raw, beside)
		if err != nil {
			return
		}
		if rows := v.Describe(rigTime, Reference{AllowSimulated: true}); len(rows) < 2 || rows[0].Actual != string(v.Kind) {
			t.Fatalf("%v", rows)
		}
	})
}
