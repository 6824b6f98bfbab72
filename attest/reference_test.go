package attest

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// A genesis under which evidence could not be judged, or that takes a toy for a
// machine, is refused.
func TestReferenceCheck(t *testing.T) {
	root := (*authority)(nil).issue(elliptic.P256(), "maker", true).cert.Raw
	toy := (*authority)(nil).issue(elliptic.P256(), "swtpm-localca", true).cert.Raw
	azure := (*authority)(nil).issue(elliptic.P256(), "Azure Virtual TPM Root Certificate Authority 2023", true).cert.Raw
	tpm := TPMReference{Roots: [][]byte{root}, Activators: []task.Key{{1}, {2}}, Threshold: 2}
	toys := tpm
	toys.Roots = [][]byte{toy}
	cloud := tpm
	cloud.Roots = [][]byte{azure}
	for name, row := range map[string]struct {
		ref  Reference
		says string // "" is fine
	}{
		"nothing":                      {Reference{}, "no program"},
		"no kind":                      {Reference{Measurements: []task.Hash{{7}}}, "no kind"},
		"simulated":                    {Reference{AllowSimulated: true}, ""},
		"all kinds":                    {Reference{Kinds: []Kind{TPM, SEVSNP, TDX, Nitro}, TPM: tpm}, ""},
		"unknown kind":                 {Reference{Kinds: []Kind{"sgx"}}, "not known"},
		"simulated by its kind":        {Reference{Kinds: []Kind{Simulated}}, "allow_simulated"},
		"TPMs without roots":           {Reference{Kinds: []Kind{TPM}, TPM: TPMReference{Activators: tpm.Activators, Threshold: 1}}, "needs roots"},
		"TPMs without activators":      {Reference{Kinds: []Kind{TPM}, TPM: TPMReference{Roots: tpm.Roots}}, "threshold"},
		"a threshold nobody can reach": {Reference{Kinds: []Kind{TPM}, TPM: TPMReference{Roots: tpm.Roots, Activators: tpm.Activators, Threshold: 3}}, "threshold"},
		"swtpm's CA":                   {Reference{Kinds: []Kind{TPM}, TPM: toys}, "software"},
		"swtpm's CA among simulated":   {Reference{AllowSimulated: true, Kinds: []Kind{TPM}, TPM: toys}, ""},
		"swtpm's CA for another kind":  {Reference{Kinds: []Kind{SEVSNP}, SNP: SNPReference{Roots: [][]byte{toy}}}, "software"},
		"a cloud's CA":                 {Reference{Kinds: []Kind{TPM}, TPM: cloud}, "software"},
		"a root that is none":          {Reference{Nitro: NitroReference{Roots: [][]byte{{1}}}}, "cannot be read"},
		"a runtime without a digest":   {Reference{Runtimes: []task.Hash{{1}, {}}}, "container runtimes"},
		"docker functions":             {Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}, Docker: []task.Hash{{8}}}, ""},
		"docker without simulated":     {Reference{Kinds: []Kind{TPM}, TPM: tpm, Docker: []task.Hash{{8}}}, "docker functions"},
		"docker as any program":        {Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}, Docker: []task.Hash{{7}}}, "docker functions"},
		"collateral for ever":          {Reference{TDX: TDXReference{MaxAgeSeconds: 1 << 40}}, "for ever"},
	} {
		if name != "nothing" {
			row.ref.Measurements = []task.Hash{{7}}
		}
		err := row.ref.Check()
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", name, err, row.says)
		}
	}
}

// What a chain can serve follows from the kinds that it accepts.
func TestReferenceServes(t *testing.T) {
	devnet := Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}, MinTCB: 3}
	real := Reference{Kinds: []Kind{TPM, SEVSNP}, Measurements: []task.Hash{{7}}}
	if devnet.BestTier() != task.TierSimulated || real.BestTier() != task.TierConfidential || (Reference{}).BestTier() != 0 {
		t.Error("the best tier is not that of the accepted kinds")
	}
	for i, row := range []struct {
		ref    Reference
		policy task.Policy
		want   bool
	}{
		{devnet, task.Policy{}, true},
		{devnet, task.Policy{MinTCB: 4}, false},
		{devnet, task.Policy{Kinds: []string{"tpm"}}, false},
		{devnet, task.Policy{Kinds: []string{"tpm", "simulated"}}, true},
		{devnet, task.Policy{Measurements: []task.Hash{{8}}}, false},
		{real, task.Policy{MinTCB: 4}, true},
		{real, task.Policy{Kinds: []string{"tpm"}, MinTier: task.TierConfidential}, false},
		{real, task.Policy{Kinds: []string{"sev-snp"}, MinTier: task.TierConfidential}, true},
		{real, task.Policy{Kinds: []string{"nitro"}}, false},
	} {
		if got := row.ref.Serves(row.policy); got != row.want {
			t.Errorf("row %d: %t", i, got)
		}
	}
}

// Each check of a description holds for honest evidence, and the one that does
// not is marked.
func TestDescribe(t *testing.T) {
	for _, k := range allKinds {
		r := newRig(t, k)
		for _, row := range Describe(r.ev, r.want, r.policy, r.ref) {
			if row.Holds != nil && !*row.Holds {
				t.Errorf("%s: honest evidence: %+v", k, row)
			}
		}
		r.want.Nonce, r.want.Chip = task.Hash{99}, task.Key{1}
		var bad []string
		for _, row := range Describe(r.ev, r.want, r.policy, r.ref) {
			if row.Holds != nil && !*row.Holds {
				bad = append(bad, row.What)
			}
		}
		if got := strings.Join(bad, ", "); got != "chip, nonce" {
			t.Errorf("%s: marked are %s", k, got)
		}
		r.ev.Quote = kinds[k].unsign(r.ev.Quote)
		if text := Describe(r.ev, r.want, r.policy, r.ref); len(text) < 8 {
			t.Errorf("%s: %d rows of a spoiled quote", k, len(text))
		}
	}
}
