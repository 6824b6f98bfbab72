package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Certificates and revocation lists that no vendor writes, each signed by whoever
// should sign it: nothing but its form is odd.

// parts are something signed, taken apart: each as whole DER.
type parts struct {
	fields    [][]byte // of what is signed, in order
	algorithm []byte   // beside the signature; nil: the same as in the fields
	signature func(good []byte) []byte
	behind    []byte
}

// Fields of a certificate, and of a revocation list.
const (
	fVersion, fSerial, fAlgorithm, fIssuer, fValidity, fSubject, fKey, fExtensions = 0, 1, 2, 3, 4, 5, 6, 7
	lVersion, lAlgorithm, lIssuer, lThis, lNext                                    = 0, 1, 2, 3, 4
)

// tlv is a value in DER.
func tlv(tag byte, body ...[]byte) []byte {
	b := slices.Concat(body...)
	switch n := len(b); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, b...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, b...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, b...)
	}
}

// inside are the values in a value.
func inside(der []byte) (all [][]byte) {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		panic(err)
	}
	for rest := v.Bytes; len(rest) > 0; {
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			panic(err)
		}
		all = append(all, one.FullBytes)
	}
	return all
}

func takeApart(der []byte) *parts { return &parts{fields: inside(inside(der)[0])} }

// sign puts it together.
func (p *parts) sign(key *ecdsa.PrivateKey) []byte {
	tbs := tlv(0x30, p.fields...)
	digest := sha256.New()
	if key.Params().BitSize == 384 {
		digest = sha512.New384()
	}
	digest.Write(tbs)
	signature, err := key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256)
	if err != nil {
		panic(err)
	}
	if p.signature != nil {
		signature = p.signature(signature)
	}
	algorithm := p.algorithm
	if algorithm == nil {
		algorithm = p.fields[fAlgorithm]
		if p.fields[0][0] == 2 { // a list
			algorithm = p.fields[lAlgorithm]
		}
	}
	return append(tlv(0x30, tbs, algorithm, tlv(3, []byte{0}, signature)), p.behind...)
}

// extensions changes the list of them.
func (p *parts) extensions(f func(list [][]byte) [][]byte) {
	at := len(p.fields) - 1
	tag := p.fields[at][0]
	p.fields[at] = tlv(tag, tlv(0x30, f(inside(inside(p.fields[at])[0]))...))
}

// add adds extensions. critical is what stands between name and value.
func (p *parts) add(id, critical, value []byte) {
	p.extensions(func(list [][]byte) [][]byte { return append(list, tlv(0x30, tlv(6, id), critical, tlv(4, value))) })
}

// replace takes an extension out and puts another in.
func (p *parts) replace(id, critical, value []byte) {
	p.extensions(func(list [][]byte) [][]byte {
		return slices.DeleteFunc(list, func(x []byte) bool { return bytes.Equal(inside(x)[0], tlv(6, id)) })
	})
	p.add(id, critical, value)
}

func nameOf(tag byte, text string) []byte {
	return tlv(0x30, tlv(0x31, tlv(0x30, tlv(6, []byte{0x55, 4, 3}), tlv(tag, []byte(text)))))
}

func rsaOf(bits int, last byte, e []byte) []byte {
	n := bytes.Repeat([]byte{0xa5}, (bits+7)/8)
	if bits%8 != 0 {
		n[0] = 1<<(bits%8) - 1
	} else {
		n = append([]byte{0}, n...)
	}
	n[len(n)-1] = last
	id := []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0}
	return tlv(0x30, tlv(0x30, id), tlv(3, []byte{0}, tlv(0x30, tlv(2, n), tlv(2, e))))
}

func rsaWith(n byte) []byte {
	return tlv(0x30, []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, n, 5, 0})
}

func times(tag byte, from, until string) []byte {
	return tlv(0x30, tlv(tag, []byte(from)), tlv(tag, []byte(until)))
}

var (
	yes    = []byte{1, 1, 0xff}
	e65537 = []byte{1, 0, 1}
)

// odd is one way in which a certificate can be odd.
type odd struct {
	name   string
	good   bool // it is taken all the same
	change func(*parts)
}

// set puts DER in place of a field.
func set(field int, der ...[]byte) func(*parts) {
	return func(p *parts) { p.fields[field] = slices.Concat(der...) }
}

var oddities = []odd{
	{"as it was issued", true, func(*parts) {}},
	{"the serial number 0, as AMD's", true, set(fSerial, []byte{2, 1, 0})},
	{"a serial number of 20 bytes that begins with a high bit, as Intel's", true, set(fSerial, tlv(2, []byte{0}, bytes.Repeat([]byte{0xd5}, 20)))},
	{"a negative serial number", false, set(fSerial, tlv(2, bytes.Repeat([]byte{0xd5}, 16)))},
	{"a small negative serial number", false, set(fSerial, []byte{2, 1, 0xff})},
	{"a serial number of 21 bytes", false, set(fSerial, tlv(2, bytes.Repeat([]byte{0x55}, 21)))},
	{"a serial number with a zero before it, as STMicroelectronics'", true, set(fSerial, []byte{2, 2, 0, 5})},
	{"a serial number with many zeros before it", true, set(fSerial, tlv(2, make([]byte, 12), bytes.Repeat([]byte{0x55}, 20)))},
	{"the serial number 0 in many bytes", true, set(fSerial, tlv(2, make([]byte, 20)))},
	{"a serial number with more zeros before it than fit", false, set(fSerial, tlv(2, make([]byte, 32), []byte{5}))},
	{"a serial number of 21 bytes with zeros before it", false, set(fSerial, tlv(2, make([]byte, 2), bytes.Repeat([]byte{0x55}, 21)))},
	{"a negative serial number in more bytes than it needs", false, set(fSerial, []byte{2, 2, 0xff, 0xd5})},
	{"a serial number whose length is not minimal", false, set(fSerial, []byte{2, 0x81, 2, 0, 5})},
	{"zeros before the exponent of a key", false, set(fKey, rsaOf(2048, 1, []byte{0, 1, 0, 1}))},
	{"zeros before a number that is no serial number", false, set(fVersion, tlv(0xa0, []byte{2, 2, 0, 2}))},
	{"no serial number", false, set(fSerial, []byte{2, 0})},
	{"a length in more bytes than it needs", false, set(fSerial, []byte{2, 0x81, 1, 5})},
	{"a length with zeros before it", false, set(fSerial, []byte{2, 0x82, 0, 1, 5})},
	{"an indefinite length", false, func(p *parts) {
		p.fields[fValidity] = slices.Concat([]byte{0x30, 0x80}, bytes.Join(inside(p.fields[fValidity]), nil), []byte{0, 0})
	}},
	{"a length beyond the end", false, func(p *parts) { p.behind, p.fields[fSerial] = nil, []byte{2, 0x83, 0xff, 0xff, 0xff} }},
	{"a byte behind it", false, func(p *parts) { p.behind = []byte{0} }},
	{"another value behind it", false, func(p *parts) { p.behind = []byte{5, 0} }},
	{"something behind the extensions", false, func(p *parts) { p.fields = append(p.fields, []byte{5, 0}) }},
	{"an extension twice", false, func(p *parts) {
		p.extensions(func(list [][]byte) [][]byte { return append(list, list[0]) })
	}},
	{"no extensions", false, func(p *parts) { p.fields = p.fields[:fExtensions] }},
	{"an empty list of extensions", false, func(p *parts) { p.extensions(func([][]byte) [][]byte { return nil }) }},
	{"more extensions than anybody needs", false, func(p *parts) {
		for i := range byte(40) {
			p.add([]byte{0x2a, i}, nil, []byte{5, 0})
		}
	}},
	{"an extension of 9 KB", false, func(p *parts) { p.add([]byte{0x2a, 3}, nil, make([]byte, 9000)) }},
	{"a name in BMP characters", false, set(fSubject, nameOf(30, "\x00o\x00d\x00d"))},
	{"a name in Teletex characters", false, set(fSubject, nameOf(20, "odd"))},
	{"a name in universal characters", false, set(fSubject, nameOf(28, "\x00\x00\x00o"))},
	{"a name of digits", false, set(fSubject, nameOf(18, "123"))},
	{"a name that is a number", false, set(fSubject, nameOf(2, "\x01"))},
	{"a name that is not UTF-8", false, set(fSubject, nameOf(12, "odd\xff"))},
	{"a name with an overlong UTF-8 character", false, set(fSubject, nameOf(12, "\xc0\xaf"))},
	{"a printable name with what is not printable", false, set(fSubject, nameOf(19, "od*d"))},
	{"an ASCII name with what is not ASCII", false, set(fSubject, nameOf(22, "od\xe9"))},
	{"a name with an empty set in it", false, set(fSubject, tlv(0x30, tlv(0x31)))},
	{"a name with two common names", false, func(p *parts) {
		p.fields[fSubject] = tlv(0x30, inside(nameOf(12, "a"))[0], inside(nameOf(12, "b"))[0])
	}},
	{"a name of 40 parts", false, set(fSubject, tlv(0x30, bytes.Repeat(tlv(0x31, tlv(0x30, tlv(6, []byte{0x55, 4, 11}), tlv(12, []byte("x")))), 40)))},
	{"issued by nobody", false, set(fIssuer, []byte{0x30, 0})},
	{"an identifier with a huge number", false, func(p *parts) { p.add(append(bytes.Repeat([]byte{0xff}, 20), 1), nil, nil) }},
	{"an identifier with a number of 2³¹", false, func(p *parts) { p.add([]byte{0x2a, 0x88, 0x80, 0x80, 0x80, 0}, nil, nil) }},
	{"an identifier with a number below it", true, func(p *parts) { p.add([]byte{0x2a, 0x87, 0xff, 0xff, 0xff, 0x7f}, nil, nil) }},
	{"an identifier with zeros before a number", false, func(p *parts) { p.add([]byte{0x2a, 0x80, 1}, nil, nil) }},
	{"an identifier that is cut off", false, func(p *parts) { p.add([]byte{0x2a, 0x81}, nil, nil) }},
	{"an empty identifier", false, func(p *parts) { p.add(nil, nil, nil) }},
	{"an identifier of 40 numbers", false, func(p *parts) { p.add(bytes.Repeat([]byte{1}, 40), nil, nil) }},
	{"an unknown extension", true, func(p *parts) { p.add([]byte{0x2a, 3}, nil, []byte("anything")) }},
	{"an unknown extension that is critical", false, func(p *parts) { p.add([]byte{0x2a, 3}, yes, []byte("anything")) }},
	{"an extension that says it is not critical", false, func(p *parts) { p.add([]byte{0x2a, 3}, []byte{1, 1, 0}, []byte{5, 0}) }},
	{"an extension that is critical by 1", false, func(p *parts) { p.add([]byte{0x2a, 3}, []byte{1, 1, 1}, []byte{5, 0}) }},
	{"an alternative name that is critical", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 17}, yes, tlv(0x30, tlv(0x82, []byte("odd")))) }},
	{"constraints of names", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 30}, nil, []byte{0x30, 0}) }},
	{"constraints of policies, critical", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 36}, yes, []byte{0x30, 3, 0x80, 1, 0}) }},
	{"constraints of policies, to be ignored", true, func(p *parts) { p.add([]byte{0x55, 0x1d, 36}, nil, []byte{0x30, 3, 0x80, 1, 0}) }},
	{"any policy inhibited, critical", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 54}, yes, []byte{2, 1, 0}) }},
	{"a standard extension that is not DER", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 9}, nil, []byte{0x30, 0x80, 0, 0}) }},
	{"a standard extension nested deep", false, func(p *parts) {
		deep := []byte{5, 0}
		for range 40 {
			deep = tlv(0x30, deep)
		}
		p.add([]byte{0x55, 0x1d, 9}, nil, deep)
	}},
	{"no CA, said in so many words", false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 19}, nil, []byte{0x30, 3, 1, 1, 0}) }},
	{"a path length, and no CA", false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 19}, nil, []byte{0x30, 3, 2, 1, 0}) }},
	{"a negative path length", false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 19}, nil, []byte{0x30, 6, 1, 1, 0xff, 2, 1, 0xff}) }},
	{"a use of the key for nothing", false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 15}, yes, []byte{3, 1, 0}) }},
	{"a use of the key with bits that are not used", false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 15}, yes, []byte{3, 2, 7, 0x81}) }},
	{"a use of the key with zeros at its end, as AMD's", true, func(p *parts) { p.replace([]byte{0x55, 0x1d, 15}, yes, []byte{3, 2, 0, 0x80}) }},
	{"a tag of two bytes", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 9}, nil, []byte{0x1f, 0x21, 0}) }},
	{"of version 1", false, func(p *parts) { p.algorithm, p.fields = p.fields[fAlgorithm], p.fields[1:fExtensions] }},
	{"of version 4", false, set(fVersion, []byte{0xa0, 3, 2, 1, 3})},
	{"with a unique identifier", false, func(p *parts) {
		p.fields = slices.Insert(p.fields, fExtensions, []byte{0x81, 2, 0, 1})
	}},
	{"signed with SHA-1", false, set(fAlgorithm, tlv(0x30, []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}))},
	{"signed with SHA-1 by RSA", false, set(fAlgorithm, rsaWith(5))},
	{"signed with MD5", false, set(fAlgorithm, rsaWith(4))},
	{"signed with SHA-224", false, set(fAlgorithm, tlv(0x30, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1}))},
	{"signed by Ed25519", false, set(fAlgorithm, tlv(0x30, []byte{6, 3, 0x2b, 0x65, 0x70}))},
	{"parameters where there are none", false, func(p *parts) {
		p.fields[fAlgorithm] = tlv(0x30, inside(p.fields[fAlgorithm])[0], []byte{5, 0})
	}},
	{"two algorithms", false, func(p *parts) {
		p.algorithm = tlv(0x30, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4}) // SHA-512 beside the signature
	}},
	{"a signature with a zero before a number", false, func(p *parts) {
		p.signature = func(good []byte) []byte {
			r, s := inside(good)[0], inside(good)[1]
			return tlv(0x30, tlv(2, []byte{0}, r[2:]), s)
		}
	}},
	{"a signature with something behind it", false, func(p *parts) {
		p.signature = func(good []byte) []byte { return append(slices.Clone(good), 0) }
	}},
	{"a signature with a length in two bytes", false, func(p *parts) {
		p.signature = func(good []byte) []byte { return append([]byte{0x30, 0x81, good[1]}, good[2:]...) }
	}},
	{"a signature of zeros", false, func(p *parts) {
		p.signature = func([]byte) []byte { return []byte{0x30, 6, 2, 1, 0, 2, 1, 0} }
	}},
	{"a key of RSA with 2048 bits", true, set(fKey, rsaOf(2048, 0xa5, e65537))},
	{"a key of RSA with 1024 bits", false, set(fKey, rsaOf(1024, 0xa5, e65537))},
	{"a key of RSA with 2047 bits", false, set(fKey, rsaOf(2047, 0xa5, e65537))},
	{"a key of RSA with 2056 bits", false, set(fKey, rsaOf(2056, 0xa5, e65537))},
	{"a key of RSA with 8192 bits", false, set(fKey, rsaOf(8192, 0xa5, e65537))},
	{"a key of RSA that is even", false, set(fKey, rsaOf(2048, 0xa4, e65537))},
	{"a key of RSA with exponent 3", false, set(fKey, rsaOf(2048, 0xa5, []byte{3}))},
	{"a key of RSA with a large exponent", false, set(fKey, rsaOf(2048, 0xa5, []byte{0x7f, 0xff, 0xff, 0xff}))},
	{"a key of RSA with a negative exponent", false, set(fKey, rsaOf(2048, 0xa5, []byte{0xff}))},
	{"a key that is not on its curve", false, func(p *parts) {
		p.fields[fKey] = slices.Clone(p.fields[fKey])
		p.fields[fKey][len(p.fields[fKey])-1] ^= 1
	}},
	{"a key that is compressed", false, func(p *parts) {
		id, point := inside(p.fields[fKey])[0], inside(p.fields[fKey])[1]
		p.fields[fKey] = tlv(0x30, id, tlv(3, []byte{0, 2}, point[len(point)-32:]))
	}},
	{"a key on another curve", false, func(p *parts) {
		id := tlv(0x30, []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}, []byte{6, 5, 0x2b, 0x81, 4, 0, 33}) // P-224
		p.fields[fKey] = tlv(0x30, id, inside(p.fields[fKey])[1])
	}},
	{"a key of DSA", false, set(fKey, tlv(0x30, tlv(0x30, []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1}), tlv(3, []byte{0}, []byte{2, 1, 5})))},
	{"valid until the year 9999, as swtpm's", true, set(fValidity, tlv(0x30, tlv(23, []byte("250101000000Z")), tlv(24, []byte("99991231235959Z"))))},
	{"valid from 1950 until 2049", true, set(fValidity, times(23, "500101000000Z", "491231235959Z"))},
	{"a month that is none", false, set(fValidity, times(23, "251301000000Z", "300101000000Z"))},
	{"the 30th of February", false, set(fValidity, times(23, "250230000000Z", "300101000000Z"))},
	{"a 60th second", false, set(fValidity, times(23, "250101000060Z", "300101000000Z"))},
	{"a time without seconds", false, set(fValidity, times(23, "2501010000Z", "3001010000Z"))},
	{"a time of another zone", false, set(fValidity, times(23, "250101000000+0100", "300101000000+0100"))},
	{"a time with fractions", false, set(fValidity, times(24, "20250101000000.5Z", "20300101000000.5Z"))},
	{"a time that is not digits", false, set(fValidity, times(23, "25010100000 Z", "300101000000Z"))},
	{"an end before the beginning", false, set(fValidity, times(23, "300101000000Z", "250101000000Z"))},
	{"a third time", false, set(fValidity, tlv(0x30, tlv(23, []byte("250101000000Z")), tlv(23, []byte("300101000000Z")), tlv(23, []byte("300101000000Z"))))},
}

// oddLists are the same of revocation lists.
var oddLists = []odd{
	{"as it was issued", true, func(*parts) {}},
	{"an entry", true, entry([]byte{2, 1, 99})},
	{"an entry with a reason", true, entry([]byte{2, 1, 99}, tlv(0x30, tlv(0x30, tlv(6, []byte{0x55, 0x1d, 21}), tlv(4, []byte{10, 1, 1}))))},
	{"a serial number with a zero before it, in it", false, entry([]byte{2, 2, 0, 5})},
	{"a negative serial number in it", false, entry([]byte{2, 1, 0xd5})},
	{"an entry that says something critical", false, entry([]byte{2, 1, 99}, tlv(0x30, tlv(0x30, tlv(6, []byte{0x55, 0x1d, 29}), yes, tlv(4, []byte{0x30, 0}))))},
	{"an entry with an empty list of extensions", false, entry([]byte{2, 1, 99}, tlv(0x30))},
	{"an empty list", false, func(p *parts) { p.fields = slices.Insert(p.fields, lNext+1, tlv(0x30)) }},
	{"only the changes since another", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 27}, yes, []byte{2, 1, 1}) }},
	{"only some certificates", false, func(p *parts) { p.add([]byte{0x55, 0x1d, 28}, yes, []byte{0x30, 3, 0x81, 1, 0xff}) }},
	{"no next list", false, func(p *parts) { p.fields = slices.Delete(p.fields, lNext, lNext+1) }},
	{"no extensions", false, func(p *parts) { p.fields = p.fields[:lNext+1] }},
	{"of version 1", false, func(p *parts) { p.algorithm, p.fields = p.fields[lAlgorithm], p.fields[1:] }},
	{"a byte behind it", false, func(p *parts) { p.behind = []byte{0} }},
	{"a time that does not exist", false, set(lThis, tlv(23, []byte("260230000000Z")))},
	{"a name in BMP characters", false, set(lIssuer, nameOf(30, "\x00o\x00d\x00d"))},
	{"signed with SHA-1", false, set(lAlgorithm, tlv(0x30, []byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}))},
}

func entry(serial []byte, more ...[]byte) func(*parts) {
	return func(p *parts) {
		one := tlv(0x30, serial, tlv(23, []byte("260101000000Z")), slices.Concat(more...))
		p.fields = slices.Insert(p.fields, lNext+1, tlv(0x30, one))
	}
}

// settings are environments in which validators of one build may run. Some count
// only when a process starts.
var settings = []string{
	"", "x509negativeserial=1",
	"x509usepolicies=0,x509sha1=1,x509rsacrt=0,x509sha256skid=0,rsa1024min=0,x509keypairleaf=0,x509usefallbackroots=1,tlsrsakex=1",
	"fips140=on", "fips140=only",
}

// oddWord makes this test binary say what it finds, and nothing else.
const oddWord = "PRYTANY_TEST_VERDICTS"

// Verdict and reason of all kinds of evidence, with each odd certificate in each
// place, are the same in every environment.
func TestNoVerdictDependsOnTheEnvironment(t *testing.T) {
	if os.Getenv(oddWord) != "" {
		for _, line := range oddVerdicts(t) {
			fmt.Println(line)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first []string
	for _, env := range settings {
		c := exec.Command(self, "-test.run=^TestNoVerdictDependsOnTheEnvironment$")
		c.Env = append(os.Environ(), oddWord+"=1", "GODEBUG="+env)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("GODEBUG=%s: %v\n%s", env, err, out)
		}
		lines := strings.Split(string(out), "\n")
		if first == nil {
			first = lines
			if len(first) < 300 || !strings.Contains(string(out), "| OK ") {
				t.Fatalf("%d verdicts, or none of them OK:\n%s", len(first), out)
			}
			continue
		}
		for i, line := range lines {
			if i >= len(first) || line != first[i] {
				t.Errorf("GODEBUG=%s: %s\nwithout it: %s", env, line, first[min(i, len(first)-1)])
			}
		}
	}
	t.Logf("%d verdicts alike in %d environments", len(first), len(settings))
}

// oddVerdicts appraises evidence of each kind with each odd certificate.
func oddVerdicts(t *testing.T) (lines []string) {
	for _, k := range allKinds[1:] { // simulated evidence has no certificate
		r := newRig(t, k)
		say := func(place string, o odd, a Appraisal) {
			if !o.good && a.Reason != QuoteMalformed { // the reader sees it first, whatever else it leads to
				t.Errorf("%s | %s: %s | %s %s: %s", k, place, o.name, a.Verdict, a.Reason, a.Detail)
			}
			lines = append(lines, fmt.Sprintf("%s | %s: %s | %s %s", k, place, o.name, a.Verdict, a.Reason))
		}
		// with puts an odd one in place of an honest one for as long as it is judged.
		with := func(place string, by *authority, in **authority) {
			honest := *in
			for _, o := range oddities {
				p := takeApart(honest.cert.Raw)
				o.change(p)
				*in = &authority{honest.key, &x509.Certificate{Raw: p.sign(by.key)}}
				say(place, o, r.quote().appraise())
			}
			*in = honest
		}
		switch k {
		case SEVSNP:
			with("VCEK", r.snp.ask, &r.snp.vcek)
			with("ASK", r.snp.ark, &r.snp.ask)
		case TDX:
			with("PCK", r.tdx.platform, &r.tdx.pck)
			with("TCB signer", r.tdx.root, &r.tdx.tcbSigner)
			honest := takeApart(r.tdx.crlBy.crl())
			for _, o := range oddLists {
				p := &parts{fields: slices.Clone(honest.fields)}
				o.change(p)
				r.quote()
				changed(r, func(q *TDXQuote) { q.Collateral.PCKCRL = p.sign(r.tdx.platform.key) })
				say("PCK CRL", o, r.appraise())
			}
		case Nitro:
			with("leaf", r.nitro.zone, &r.nitro.leaf)
			with("zone", r.nitro.root, &r.nitro.zone)
		case TPM:
			with("EK", r.tpm.maker, &r.tpm.ek)
		}
	}
	return lines
}

// Nobody signs the text around a certificate, the order of JSON's members, or
// COSE's unprotected header: they are in one form, too.
func TestWhatNobodySignsIsInOneForm(t *testing.T) {
	r := newRig(t, TDX)
	text := func(f func(pem string) string) {
		changed(r, func(q *TDXQuote) {
			at := bytes.Index(q.Quote, []byte("-----BEGIN"))
			chain := []byte(f(string(q.Quote[at:])))
			grown := len(chain) - len(q.Quote[at:])
			q.Quote = append(q.Quote[:at:at], chain...)
			for _, size := range []int{0x278, 0x280 + 0x80 - 2, at - 4} { // of what is signed, of its certification data, of the chain
				n := int(q.Quote[size]) | int(q.Quote[size+1])<<8
				n += grown
				q.Quote[size], q.Quote[size+1] = byte(n), byte(n>>8)
			}
		})
	}
	for name, row := range map[string]struct {
		good   bool
		change func()
	}{
		"as it was": {true, func() { text(func(s string) string { return s }) }},
		"zeros behind the certificates": {true, func() {
			text(func(s string) string { return s + "\x00\x00" })
		}},
		"carriage returns": {false, func() {
			text(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") })
		}},
		"a header": {false, func() {
			text(func(s string) string {
				return strings.Replace(s, "CERTIFICATE-----\n", "CERTIFICATE-----\na: b\n\n", 1)
			})
		}},
		"words between certificates": {false, func() {
			text(func(s string) string { return strings.Replace(s, "\n-----BEGIN", "\nword\n-----BEGIN", 1) })
		}},
		"words before": {false, func() { text(func(s string) string { return "\n" + s }) }},
		"one line": {false, func() {
			text(func(s string) string {
				block, rest := pem.Decode([]byte(s))
				first := strings.TrimSuffix(s, string(rest))
				body := strings.ReplaceAll(first[len("-----BEGIN CERTIFICATE-----\n"):], "\n", "")
				body = strings.Replace(body, "-----END", "\n-----END", 1) + "\n"
				if len(block.Bytes) == 0 {
					t.Fatal("no certificate")
				}
				return "-----BEGIN CERTIFICATE-----\n" + body + string(rest)
			})
		}},
		"JSON with a space": {false, func() {
			changed(r, func(q *TDXQuote) {
				q.Collateral.TCBInfo = bytes.Replace(q.Collateral.TCBInfo, []byte(`,"signature"`), []byte(`, "signature"`), 1)
			})
		}},
		"JSON with a member twice": {false, func() {
			changed(r, func(q *TDXQuote) {
				q.Collateral.TCBInfo = append([]byte(`{"tcbInfo":{},`), q.Collateral.TCBInfo[1:]...)
			})
		}},
		"JSON with another signature": {false, func() {
			changed(r, func(q *TDXQuote) {
				q.Collateral.TCBInfo = bytes.Replace(q.Collateral.TCBInfo, []byte(`,"signature"`), []byte(`,"signature":"","signature"`), 1)
			})
		}},
	} {
		r.quote()
		row.change()
		if a := r.appraise(); row.good != (a.Reason == "") || !row.good && a.Reason != QuoteMalformed && a.Reason != BadSignature {
			t.Errorf("%s: %s %s: %s", name, a.Verdict, a.Reason, a.Detail)
		}
	}
	n := newRig(t, Nitro)
	changed(n, func(q *NitroQuote) { // an unprotected header: {1: -35}
		q.Document = slices.Concat(q.Document[:6], []byte{0xa1, 0x01, 0x38, 0x22}, q.Document[7:])
	})
	if a := n.appraise(); a.Reason != QuoteMalformed || !strings.Contains(a.Detail, "ES384") {
		t.Errorf("an unprotected header: %s %s: %s", a.Verdict, a.Reason, a.Detail)
	}
}
