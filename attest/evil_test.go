package attest

import (
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/prytany/prytany/task"
)

var allKinds = []Kind{Simulated, TPM, SEVSNP, TDX, Nitro}

// evil is one way in which evidence can be bad. before changes the platform, and
// it then quotes anew; after changes what comes out, or what is expected.
type evil struct {
	name          string
	reason        string
	before, after func(*rig)
}

// forEvery are the ways that every kind has.
var forEvery = []evil{
	{"unknown kind", UnknownKind, nil, func(r *rig) { r.ev.Kind = "sgx" }},
	{"kind that the chain does not accept", "", nil, func(r *rig) {
		r.ref.Kinds, r.ref.AllowSimulated = nil, false // its reason depends on the kind
	}},
	{"kind that the task does not accept", KindNotAsked, nil, func(r *rig) { r.policy.Kinds = []string{"another"} }},
	{"other kind than registered", ForeignChip, nil, func(r *rig) { r.want.Kind = "another" }},
	{"other chip than registered (cuckoo)", ForeignChip, nil, func(r *rig) { r.want.Chip[0]++ }},
	{"of the other round", WrongRound, func(r *rig) { r.ctx.Round = task.PostRun }, nil},
	{"no quote", QuoteMalformed, nil, func(r *rig) { r.ev.Quote = nil }},
	{"quote cut short", QuoteMalformed, nil, func(r *rig) { r.ev.Quote = r.ev.Quote[:len(r.ev.Quote)-1] }},
	{"quote with something behind it", QuoteMalformed, nil, func(r *rig) { r.ev.Quote = append(r.ev.Quote, 0) }},
	{"quote of another kind", QuoteMalformed, nil, func(r *rig) { r.ev.Quote = task.Encode(map[int]int{1: 1}) }},
	{"signature spoiled", BadSignature, nil, func(r *rig) { r.ev.Quote = kinds[r.kind].unsign(r.ev.Quote) }},
	{"another program", WrongMeasurement, nil, func(r *rig) { r.ref.Measurements = []task.Hash{{8}} }},
	{"program that the task does not accept", WrongMeasurement, nil, func(r *rig) { r.policy.Measurements = []task.Hash{{8}} }},
	{"TCB below the task's floor", StaleTCB, nil, func(r *rig) { r.policy.MinTCB = 1 << 63 }},
	{"container runtime that the chain does not accept", WrongRuntime, func(r *rig) { r.contain(task.Hash{6}) }, func(r *rig) { r.ref.Runtimes = []task.Hash{{8}} }},
	{"container runtime of nobody's, and the chain accepts none", WrongRuntime, nil, func(r *rig) { r.want.OCI = true }},
	{"no container runtime where one is needed", WrongRuntime, nil, func(r *rig) { r.want.OCI, r.ref.Runtimes = true, []task.Hash{{6}} }},
	{"container runtime where none is needed", WrongRuntime, func(r *rig) { r.contain(task.Hash{6}) }, func(r *rig) { r.want.OCI = false }},
	{"another container runtime at the exit", WrongRuntime, func(r *rig) { r.contain(task.Hash{6}) }, func(r *rig) { r.want.Runtime = &task.Hash{7} }},
	{"accepted container runtime said, another quoted", NotBound, func(r *rig) { r.contain(task.Hash{6}) }, func(r *rig) { r.ref.Runtimes, r.ev.Runtime = []task.Hash{{7}}, task.Hash{7} }},
	{"another enclave's keys at the exit", KeysChanged, nil, func(r *rig) { k := r.keys; k.Sign[0]++; r.want.Keys = &k }},
	{"dirty state", DirtyState, func(r *rig) { r.state = task.Hash{1} }, nil},
	{"replayed: my nonce is not in it", NonceMissing, nil, func(r *rig) { r.want.Nonce = task.Hash{9} }},
	{"replayed under a nonce added later", NotBound, nil, func(r *rig) { r.want.Nonce = task.Hash{9}; r.ev.Nonce = task.Hash{9} }},
	{"relayed from another task", NotBound, func(r *rig) { r.ctx.Task[0]++ }, nil},
	{"of an earlier attempt", NotBound, func(r *rig) { r.ctx.Attempt-- }, nil},
	{"of another view", NotBound, func(r *rig) { r.ctx.View++ }, nil},
	{"of another node", NotBound, func(r *rig) { r.ctx.Node[0]++ }, nil},
	{"sealing key swapped (relay)", NotBound, nil, func(r *rig) { r.ev.Keys.Seal = SealKey([]byte("mine")) }},
	{"state said clean that was quoted dirty", NotBound, func(r *rig) { r.state = task.Hash{1} }, func(r *rig) { r.ev.State = EmptyState }},
}

// forHardware are the ways of all kinds with certificates.
var forHardware = []evil{
	{"under another root", UntrustedChain, nil, func(r *rig) { r.setRoots((*authority)(nil).issue(elliptic.P384(), "nobody's", true).cert) }},
	{"long after the certificates", "", nil, func(r *rig) { r.want.Now += 20 * 365 * 24 * 3600 }},
	{"before the certificates", "", nil, func(r *rig) { r.want.Now -= 10 * 365 * 24 * 3600 }},
	{"tier too low for the task", "", nil, func(r *rig) { r.policy.MinTier = task.TierConfidential + 1 }},
	{"revoked by the chain", Revoked, nil, func(r *rig) {
		r.ref.Revoked = []task.Hash{sha256.Sum256(r.leaf().cert.RawTBSCertificate)}
	}},
	{"root revoked by the chain", Revoked, nil, func(r *rig) { r.ref.Revoked = []task.Hash{sha256.Sum256(r.root().cert.RawTBSCertificate)} }},
}

// reasonsOf are those that depend on the kind.
var reasonsOf = map[string]map[Kind]string{
	"kind that the chain does not accept": {Simulated: SimulatedRefused, TPM: KindRefused, SEVSNP: KindRefused, TDX: KindRefused, Nitro: KindRefused},
	"long after the certificates":         {TPM: CertificateExpired, SEVSNP: CertificateExpired, TDX: CertificateExpired, Nitro: StaleQuote},
	"before the certificates":             {TPM: CertificateExpired, SEVSNP: CertificateExpired, TDX: CertificateExpired, Nitro: StaleQuote},
	"tier too low for the task":           {TPM: TierTooLow, SEVSNP: TierTooLow, TDX: TierTooLow, Nitro: TierTooLow},
}

// forOne are the ways that only one kind has.
var forOne = map[Kind][]evil{
	SEVSNP: {
		{"debug guest", DebugEnclave, func(r *rig) { r.snp.policy(1 << 19) }, nil},
		{"guest that a migration agent may move", UnsafePolicy, func(r *rig) { r.snp.policy(1 << 18) }, nil},
		{"report of a less privileged level", UnsafePolicy, func(r *rig) { r.snp.report[0x30] = 2 }, nil},
		{"Milan, whose keys are out", WrongProduct, func(r *rig) { r.snp.product = "Milan"; r.snp.issue(r) }, nil},
		{"product that the genesis leaves out", WrongProduct, nil, func(r *rig) { r.ref.SNP.Products = []string{"Turin"} }},
		{"TCB component below the chain's floor", StaleTCB, nil, func(r *rig) { r.ref.SNP.MinTCB = []SNPFloor{{"Genoa", 0x4718000000000a03}} }},
		{"old TCB said new", EndorsementMismatch, func(r *rig) { r.snp.report[0x180]++ }, nil},
		{"VCEK of another chip", EndorsementMismatch, func(r *rig) { r.snp.chip[0]++; r.snp.issue(r) }, nil},
		{"VCEK without patch levels", EndorsementMismatch, func(r *rig) { r.snp.vcek = r.snp.ask.issue(elliptic.P384(), "SEV-VCEK", false) }, nil},
		{"signed by a loaded key (VLEK)", EndorsementMismatch, func(r *rig) { r.snp.report[0x48] = 1 << 2 }, nil},
		{"chip's name masked", EndorsementMismatch, func(r *rig) { r.snp.report[0x48] = 2 }, nil},
		{"another VCEK's signature", BadSignature, func(r *rig) { r.snp.vcek.key = r.snp.ask.issue(elliptic.P384(), "SEV-VCEK", false).key }, nil},
		{"VCEK on another curve", BadSignature, func(r *rig) {
			r.snp.vcek = r.snp.ask.issue(elliptic.P256(), "SEV-VCEK", false, r.snp.extensions()...)
		}, nil},
		{"unknown signature algorithm", BadSignature, func(r *rig) { r.snp.report[0x34] = 7 }, nil},
		{"VCEK signed by no ASK", UntrustedChain, func(r *rig) {
			r.snp.vcek = (*authority)(nil).issue(elliptic.P384(), "SEV-VCEK", false, r.snp.extensions()...)
		}, nil},
		{"ASK that is no CA", UntrustedChain, func(r *rig) {
			r.snp.ask = r.snp.ark.issue(elliptic.P384(), "SEV-Genoa", false)
			r.snp.vcek = r.snp.ask.issue(elliptic.P384(), "SEV-VCEK", false, r.snp.extensions()...)
		}, nil},
		{"reserved bytes set", QuoteMalformed, func(r *rig) { r.snp.report[0x4C] = 1 }, nil},
		{"measurement changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *SNPQuote) { q.Report[0x90] ^= 1 }) }},
		{"policy changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *SNPQuote) { q.Report[0x0A] ^= 8 }) }},
		{"chip changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *SNPQuote) { q.Report[0x1A0] ^= 1 }) }},
		{"report data of more than a hash", NotBound, func(r *rig) { r.snp.report[0x8F] = 1 }, nil},
		{"short report", QuoteMalformed, nil, func(r *rig) { changed(r, func(q *SNPQuote) { q.Report = q.Report[:1000] }) }},
		{"no VCEK", QuoteMalformed, nil, func(r *rig) { changed(r, func(q *SNPQuote) { q.VCEK = nil }) }},
	},
	TDX: {
		{"TD under debug", DebugEnclave, func(r *rig) { r.tdx.body[120] = 1 }, nil},
		{"TD that may be migrated", UnsafePolicy, func(r *rig) { r.tdx.body[123] = 1 << 5 }, nil},
		{"TCB info out of date", StaleCollateral, func(r *rig) { r.tdx.info["nextUpdate"] = stamp(-1) }, nil},
		{"QE identity out of date", StaleCollateral, func(r *rig) { r.tdx.identity["nextUpdate"] = stamp(-1) }, nil},
		{"collateral older than the chain allows", StaleCollateral, nil, func(r *rig) { r.ref.TDX.MaxAgeSeconds = 60 }},
		{"collateral from the future", StaleCollateral, func(r *rig) { r.tdx.info["issueDate"] = stamp(3 * 24 * 3600) }, nil},
		{"TCB level out of date", StaleTCB, func(r *rig) { r.tdx.level()["tcbStatus"] = "OutOfDate" }, nil},
		{"TCB level that needs configuration", StaleTCB, func(r *rig) { r.tdx.level()["tcbStatus"] = "ConfigurationNeeded" }, nil},
		{"TCB level revoked", Revoked, func(r *rig) { r.tdx.level()["tcbStatus"] = "Revoked" }, nil},
		{"below every TCB level", StaleTCB, func(r *rig) { r.tdx.level()["tcb"].(map[string]any)["pcesvn"] = 999 }, nil},
		{"quoting enclave out of date", StaleTCB, func(r *rig) {
			r.tdx.identity["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "OutOfDate"
		}, nil},
		{"TCB evaluation below the chain's floor", StaleTCB, nil, func(r *rig) { r.ref.TDX.MinEvaluation = 1 << 20 }},
		{"collateral of another platform", EndorsementMismatch, func(r *rig) { r.tdx.info["fmspc"] = "000000000000" }, nil},
		{"collateral of SGX", EndorsementMismatch, func(r *rig) { r.tdx.info["id"] = "SGX" }, nil},
		{"quoting enclave of somebody else", EndorsementMismatch, func(r *rig) { r.tdx.qe[128] ^= 1 }, nil},
		{"quoting enclave in debug mode", EndorsementMismatch, func(r *rig) { r.tdx.qe[48] |= 2 }, nil},
		{"TDX module of somebody else", EndorsementMismatch, func(r *rig) { r.tdx.body[16+48] ^= 1 }, nil},
		{"TDX module of an unknown generation", EndorsementMismatch, func(r *rig) { r.tdx.body[1] = 9 }, nil},
		{"PCK revoked by Intel", Revoked, func(r *rig) { r.tdx.revoked = []*x509.Certificate{r.tdx.pck.cert} }, nil},
		{"platform CA revoked by Intel", Revoked, func(r *rig) { r.tdx.revoked = []*x509.Certificate{r.tdx.platform.cert} }, nil},
		{"TCB signer revoked by Intel", Revoked, func(r *rig) { r.tdx.revoked = []*x509.Certificate{r.tdx.tcbSigner.cert} }, nil},
		{"revocation list of another CA", BadSignature, func(r *rig) { r.tdx.crlBy = r.tdx.root.issue(elliptic.P256(), "Intel SGX PCK Platform CA", true) }, nil},
		{"collateral signed by the PCK", UntrustedChain, func(r *rig) { r.tdx.tcbSigner = r.tdx.pck }, nil},
		{"collateral signed by one who may not", UntrustedChain, func(r *rig) { r.tdx.tcbSigner = r.tdx.root.issue(elliptic.P256(), "somebody", false) }, nil},
		{"TCB info changed after signing", BadSignature, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) {
				q.Collateral.TCBInfo = []byte(strings.Replace(string(q.Collateral.TCBInfo), "UpToDate", "upToDate", 1))
			})
		}},
		{"QE identity of an earlier signature", BadSignature, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) {
				q.Collateral.QEIdentity = []byte(strings.Replace(string(q.Collateral.QEIdentity), `"version":2`, `"version":3`, 1))
			})
		}},
		{"no collateral", QuoteMalformed, nil, func(r *rig) { changed(r, func(q *TDXQuote) { q.Collateral = TDXCollateral{} }) }},
		{"MRTD changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *TDXQuote) { q.Quote[0x30+136] ^= 1 }) }},
		{"attributes changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *TDXQuote) { q.Quote[0x30+120] ^= 1 }) }},
		{"RTMR changed after signing", BadSignature, nil, func(r *rig) { changed(r, func(q *TDXQuote) { q.Quote[0x30+328] ^= 1 }) }},
		{"attestation key swapped", BadSignature, func(r *rig) {
			other := newTDXRig(r)
			other.root, other.pck, other.platform, other.tcbSigner, other.crlBy = r.tdx.root, r.tdx.pck, r.tdx.platform, r.tdx.tcbSigner, r.tdx.platform
			r.ref.TDX.Roots = [][]byte{r.tdx.root.cert.Raw}
			r.tdx = other
		}, func(r *rig) { // the new key's quote, over the old key's report
			honest := newRig(r.t, TDX)
			changed(r, func(q *TDXQuote) {
				copy(q.Quote[0x2BC:0x2FC], mustDecode[TDXQuote](honest.ev.Quote).Quote[0x2BC:0x2FC])
			})
		}},
		{"auth data longer than the quote", QuoteMalformed, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) { q.Quote[0x4C2], q.Quote[0x4C3] = 0xff, 0xff })
		}},
		{"signed data longer than the quote", QuoteMalformed, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) { q.Quote[0x27B] = 0xff })
		}},
		{"signed data too short for a signature", QuoteMalformed, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) { q.Quote[0x278], q.Quote[0x279] = 63, 0 })
		}},
		{"quote cut off in its certificates", QuoteMalformed, nil, func(r *rig) {
			changed(r, func(q *TDXQuote) { q.Quote = q.Quote[:0x4C8] })
		}},
		{"quote of version 3", QuoteMalformed, func(r *rig) { r.tdx.header[0] = 3 }, nil},
		{"quote of an SGX enclave", QuoteMalformed, func(r *rig) { r.tdx.header[4] = 0 }, nil},
		{"report data of more than a hash", NotBound, func(r *rig) {}, func(r *rig) { // as the rig signs it
			x := r.tdx
			q := mustDecode[TDXQuote](r.ev.Quote)
			q.Quote[0x30+583] = 1
			digest := sha256.Sum256(q.Quote[:0x278])
			copy(q.Quote[0x27C:], raw(x.attestation, digest[:]))
			r.ev.Quote = task.Encode(q)
		}},
	},
	Nitro: {
		{"debug enclave: registers are zero", DebugEnclave, func(r *rig) {
			for i := range uint64(3) {
				r.nitro.doc.PCRs[i] = make([]byte, 48)
			}
		}, nil},
		{"document of the day before", StaleQuote, func(r *rig) { r.nitro.doc.Timestamp -= 24 * 3600 * 1000 }, nil},
		{"document of the next week", StaleQuote, func(r *rig) { r.nitro.doc.Timestamp += 7 * 24 * 3600 * 1000 }, nil},
		{"document of no time", StaleQuote, func(r *rig) { r.nitro.doc.Timestamp = 0 }, nil},
		{"leaf under nobody", UntrustedChain, func(r *rig) { r.nitro.leaf = (*authority)(nil).issue(elliptic.P384(), "i", false) }, nil},
		{"zone that is no CA", UntrustedChain, func(r *rig) {
			r.nitro.zone = r.nitro.root.issue(elliptic.P384(), "zone", false)
			r.nitro.leaf = r.nitro.zone.issue(elliptic.P384(), "i", false)
		}, nil},
		{"many certificates of one subject, each to be tried", QuoteMalformed, func(r *rig) {
			for range 2 {
				r.nitro.more = append(r.nitro.more, r.nitro.root.issue(elliptic.P384(), "again", true))
			}
		}, nil},
		{"an RSA key that is slow to check", QuoteMalformed, func(r *rig) {
			slow := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), big.NewInt(1)), E: 1<<31 - 1}
			r.nitro.more = append(r.nitro.more, r.nitro.root.issueFor(slow, r.nitro.root.key, "slow", true))
		}, nil},
		{"an RSA key that is long", QuoteMalformed, func(r *rig) {
			long := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 8192), big.NewInt(1)), E: 65537}
			r.nitro.more = append(r.nitro.more, r.nitro.root.issueFor(long, r.nitro.root.key, "long", true))
		}, nil},
		{"signed by another key than the certificate's", BadSignature, func(r *rig) { r.nitro.leaf.key = r.nitro.zone.key }, nil},
		{"certificate on another curve", BadSignature, func(r *rig) { r.nitro.leaf = r.nitro.zone.issue(elliptic.P256(), "i", false) }, nil},
		{"other algorithm in the protected header", QuoteMalformed, func(r *rig) { r.nitro.protected = []byte{0xa1, 0x01, 0x26} }, nil},
		{"registers by another hash", QuoteMalformed, func(r *rig) { r.nitro.doc.Digest = "SHA256" }, nil},
		{"register missing", QuoteMalformed, func(r *rig) { delete(r.nitro.doc.PCRs, 1) }, nil},
		{"short register", QuoteMalformed, func(r *rig) { r.nitro.doc.PCRs[2] = []byte{1} }, nil},
		{"register of another image", WrongMeasurement, func(r *rig) { r.nitro.doc.PCRs[0][0] ^= 1 }, nil},
		{"register of another kernel", WrongMeasurement, func(r *rig) { r.nitro.doc.PCRs[1][0] ^= 1 }, nil},
		{"machine without a name", QuoteMalformed, func(r *rig) { r.nitro.doc.ModuleID = "nothing" }, nil},
		{"on another machine", ForeignChip, func(r *rig) { r.nitro.doc.ModuleID = "i-9999-enc1" }, nil},
		{"user data of more than a hash", NotBound, func(r *rig) { r.nitro.longData = true }, nil},
		{"not COSE", QuoteMalformed, nil, func(r *rig) { r.ev.Quote = task.Encode(NitroQuote{Document: []byte{0x80}}) }},
		{"payload changed after signing", BadSignature, nil, func(r *rig) {
			changed(r, func(q *NitroQuote) {
				q.Document = []byte(strings.Replace(string(q.Document), "i-0123-enc4567", "i-0123-enc4568", 1))
			})
		}},
	},
	TPM: {
		{"TPM of software (swtpm)", SimulatedRefused, func(r *rig) { r.tpm.model.Model = "swtpm"; r.tpm.certify(r.tpm.ek.key) }, nil},
		{"TPM of software by its maker", SimulatedRefused, func(r *rig) { r.tpm.model.Manufacturer = "id:00001014"; r.tpm.certify(r.tpm.ek.key) }, nil},
		{"TPM of software, by its cloud", SimulatedRefused, func(r *rig) {
			r.tpm.model = TPMModel{"id:474F4F47", "vTPM", "id:20160511"}
			r.tpm.certify(r.tpm.ek.key)
		}, nil},
		{"TPM of software where a measured one is wanted", TierTooLow, func(r *rig) { r.tpm.model.Model = "SWTPM"; r.tpm.certify(r.tpm.ek.key) }, func(r *rig) { r.ref.AllowSimulated = true }},
		{"EK certificate without a model", QuoteMalformed, func(r *rig) { r.tpm.model = TPMModel{}; r.tpm.certify(r.tpm.ek.key) }, nil},
		{"EK certificate of another key", EndorsementMismatch, func(r *rig) { r.tpm.certify(fixedKey(elliptic.P256(), "other")) }, nil},
		{"no activator's word", NotActivated, func(r *rig) { r.tpm.speak = 0 }, nil},
		{"fewer activators than the threshold", NotActivated, func(r *rig) { r.tpm.speak = 1 }, nil},
		{"one activator's word twice", NotActivated, func(r *rig) { r.tpm.activators[1] = r.tpm.activators[0] }, nil},
		{"strangers as activators", NotActivated, func(r *rig) { r.tpm.activators[0], r.tpm.activators[1] = chip(1), chip(2) }, nil},
		{"activated for another chain", NotActivated, func(r *rig) { r.tpm.chain = "d" }, nil},
		{"AK that was activated, changed", NotActivated, nil, func(r *rig) {
			other := newTPMRig(newRig(r.t, TPM))
			changed(r, func(q *TPMQuote) { q.Keys.AK = tpm2.Marshal(other.akArea) })
		}},
		{"AK that signs anything", WeakKey, func(r *rig) { r.tpm.akArea.ObjectAttributes.Restricted = false }, nil},
		{"AK that may leave its TPM", WeakKey, func(r *rig) { r.tpm.akArea.ObjectAttributes.FixedTPM = false }, nil},
		{"AK that was imported", WeakKey, func(r *rig) { r.tpm.akArea.ObjectAttributes.SensitiveDataOrigin = false }, nil},
		{"EK that may leave its TPM", WeakKey, func(r *rig) { r.tpm.ekArea.ObjectAttributes.FixedParent = false }, nil},
		{"EK that signs", WeakKey, func(r *rig) { r.tpm.ekArea.ObjectAttributes.SignEncrypt = true }, nil},
		{"AK off its curve", QuoteMalformed, func(r *rig) {
			r.tpm.akArea.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: []byte{1}}, Y: tpm2.TPM2BECCParameter{Buffer: []byte{1}}})
		}, nil},
		{"not made by a TPM", QuoteMalformed, func(r *rig) { r.tpm.attest.Magic = 0x12345678 }, nil},
		{"another TPM's signature", BadSignature, func(r *rig) { r.tpm.ak = fixedKey(elliptic.P256(), "other") }, nil},
		{"quote over registers that can be reset", WrongPCRs, func(r *rig) { r.tpm.selection = []byte{0xff, 0x20, 0x80} }, nil},
		{"quote without the program's register", WrongPCRs, func(r *rig) { r.tpm.selection = []byte{0xff, 0x00, 0x00} }, nil},
		{"values that were not quoted", WrongPCRs, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.PCRs[0][0] ^= 1 }) }},
		{"fewer values", QuoteMalformed, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.PCRs = q.PCRs[1:] }) }},
		{"log of another program", LogMismatch, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.Log[0].Digest[0] ^= 1 }) }},
		{"no log", LogMismatch, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.Log = nil }) }},
		{"nothing was measured", WrongMeasurement, func(r *rig) { r.tpm.log, r.tpm.pcrs[8] = nil, task.Hash{} }, nil},
		{"a second program since the boot", WrongMeasurement, func(r *rig) {
			r.tpm.log = append(r.tpm.log, LogEntry{"other", task.Hash{78}})
			r.tpm.pcrs[8] = Extended(r.tpm.pcrs[8], task.Hash{78})
		}, nil},
		{"endless log", QuoteMalformed, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.Log = make([]LogEntry, maxLog+1) }) }},
		{"other firmware", WrongFirmware, func(r *rig) { r.tpm.pcrs[0] = task.Hash{11} }, nil},
		{"TPM firmware below the chain's floor", StaleTCB, nil, func(r *rig) { r.ref.TPM.MinFirmware = 8 }},
		{"machine restarted between the rounds", Restarted, nil, func(r *rig) {
			r.want.Boots = r.ev.Boots()
			r.tpm.attest.ClockInfo.ResetCount++
			r.quote()
		}},
		{"machine resumed between the rounds", Restarted, nil, func(r *rig) {
			r.want.Boots = r.ev.Boots()
			r.tpm.attest.ClockInfo.RestartCount++
			r.quote()
		}},
		{"counter said other than it was", BadSignature, nil, func(r *rig) { changed(r, func(q *TPMQuote) { q.Attest[len(q.Attest)-60] ^= 1 }) }},
		{"no roots in the genesis", UntrustedChain, nil, func(r *rig) { r.ref.TPM.Roots = nil }},
	},
}

// Each way in which evidence can be bad is refused, for a reason of its own, in
// a sentence.
func TestBadEvidence(t *testing.T) {
	classes, reasons := 0, map[string]bool{}
	row := func(k Kind, e evil) {
		classes++
		t.Run(string(k)+"/"+e.name, func(t *testing.T) {
			r := newRig(t, k)
			if a := r.appraise(); a.Verdict != task.OK {
				t.Fatalf("honest evidence: %s: %s", a.Reason, a.Detail)
			}
			if e.before != nil {
				e.before(r)
				if r.tdx != nil {
					r.quoter = r.tdx
				}
				r.quote()
			}
			if e.after != nil {
				e.after(r)
			}
			want := e.reason
			if want == "" {
				want = reasonsOf[e.name][k]
			}
			a := r.appraise()
			if a.Verdict != task.Fault || a.Reason != want {
				t.Errorf("%s %q (%s), want %q", a.Verdict, a.Reason, a.Detail, want)
			}
			if len(a.Detail) < 12 {
				t.Errorf("%q is no sentence", a.Detail)
			}
			reasons[a.Reason] = true
		})
	}
	for _, k := range allKinds {
		for _, e := range forEvery {
			row(k, e)
		}
		if k != Simulated {
			for _, e := range forHardware {
				row(k, e)
			}
		}
		for _, e := range forOne[k] {
			row(k, e)
		}
	}
	distinct := len(forEvery) + len(forHardware)
	for _, list := range forOne {
		distinct += len(list)
	}
	t.Logf("%d classes, %d rows over the kinds, %d reasons", distinct, classes, len(reasons))
	if distinct < 60 {
		t.Errorf("%d classes of bad evidence, want 60", distinct)
	}
}

// changed alters a kind's quote after it was made.
func changed[T any](r *rig, f func(*T)) {
	q := mustDecode[T](r.ev.Quote)
	f(&q)
	r.ev.Quote = task.Encode(q)
}

func mustDecode[T any](raw []byte) T {
	q, err := task.Decode[T](raw, task.MaxEvidence)
	if err != nil {
		panic(err)
	}
	return q
}

// contain has the function run in a container, by an accepted runtime.
func (r *rig) contain(by task.Hash) {
	r.runtime, r.ref.Runtimes, r.want.OCI = by, []task.Hash{by}, true
}

// Evidence of an accepted container runtime is good, before the run and after.
func TestContainerRuntime(t *testing.T) {
	for _, k := range allKinds {
		r := newRig(t, k)
		r.contain(task.Hash{6})
		r.want.Runtime = &r.runtime
		if a := r.quote().appraise(); a.Verdict != task.OK {
			t.Errorf("%s: %s: %s", k, a.Reason, a.Detail)
		}
		for _, row := range Describe(r.ev, r.want, r.policy, r.ref) {
			if row.Holds != nil && !*row.Holds || row.What == "container runtime" && row.Actual != r.runtime.String() {
				t.Errorf("%s: %+v", k, row)
			}
		}
	}
}

func (s *snpRig) policy(bit uint64) {
	at := s.report[8:16]
	binary.LittleEndian.PutUint64(at, binary.LittleEndian.Uint64(at)|bit)
}

func (x *tdxRig) level() map[string]any { return x.info["tcbLevels"].([]any)[0].(map[string]any) }

func (r *rig) root() *authority {
	switch r.kind {
	case SEVSNP:
		return r.snp.ark
	case TDX:
		return r.tdx.root
	case Nitro:
		return r.nitro.root
	}
	return r.tpm.maker
}

// leaf is the certificate that signs the quote or stands for the chip.
func (r *rig) leaf() *authority {
	switch r.kind {
	case SEVSNP:
		return r.snp.vcek
	case TDX:
		return r.tdx.pck
	case Nitro:
		return r.nitro.leaf
	}
	return r.tpm.ek
}

func (r *rig) setRoots(c *x509.Certificate) {
	one := [][]byte{c.Raw}
	r.ref.SNP.Roots, r.ref.TDX.Roots, r.ref.Nitro.Roots, r.ref.TPM.Roots = one, one, one, one
}

// A Turin processor's patch levels stand in other places, and its name is
// shorter.
func TestTurin(t *testing.T) {
	r := newRig(t, SEVSNP)
	r.snp.product, r.snp.chip = "Turin", [64]byte{1, 2, 3, 4, 5, 6, 7, 8}
	r.snp.tcb = 0x1100000004030201
	binary.LittleEndian.PutUint64(r.snp.report[0x180:], r.snp.tcb)
	clear(r.snp.report[0x1A0:0x1E0])
	copy(r.snp.report[0x1A0:], r.snp.chip[:])
	r.snp.issue(r)
	if a := r.quote().learn().appraise(); a.Verdict != task.OK {
		t.Errorf("%s: %s", a.Reason, a.Detail)
	}
}
