package attest

import (
	_ "embed" // the vendors' roots

	"github.com/prytany/prytany/task"
)

// The vendors' own roots, which hold unless the genesis names others. A test
// holds them against the fingerprints that the vendors publish.
var (
	//go:embed roots/amd-milan.der
	arkMilan []byte
	//go:embed roots/amd-genoa.der
	arkGenoa []byte
	//go:embed roots/amd-turin.der
	arkTurin []byte
	//go:embed roots/intel-sgx.der
	intelRoot []byte
	//go:embed roots/aws-nitro.der
	awsRoot []byte
)

// roots are those of the genesis, or the vendor's.
func roots(named [][]byte, vendor ...[]byte) ([]*certificate, *task.Error) {
	if len(named) == 0 {
		named = vendor
	}
	list := make([]*certificate, len(named))
	for i, der := range named {
		c, err := readCertificate(der)
		if err != nil {
			return nil, task.Refuse(UntrustedChain, "the genesis names a root that cannot be read: %v", err)
		}
		list[i] = c
	}
	return list, nil
}
