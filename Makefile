# .ci/run holds the steps; these are short names for them.

.PHONY: help build enclaves release test race lint fuzz planted bench check

help: ## list the targets
	@sed -n 's/^\([a-z]*\): *## /\1\t/p' $(MAKEFILE_LIST)

# The enclave programs are measured: the same file, bit for bit, wherever and by
# whomever they are built. host/program.go has the same words, and a test
# compares.
ENCLAVE_ENV = CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOEXPERIMENT= GOFIPS140=off GOAMD64=v1 GOARM64=v8.0
ENCLAVE_FLAGS = -trimpath -buildvcs=false '-ldflags=-s -w -buildid='

build: enclaves ## bin/prytany, and its enclave programs beside it
	CGO_ENABLED=0 go build -trimpath -o bin/prytany ./cmd/prytany

enclaves: ## bin/prytany-enclave, bin/prytany-enclave-docker
	mkdir -p bin
	$(ENCLAVE_ENV) go build -o bin/ $(ENCLAVE_FLAGS) ./cmd/prytany-enclave ./cmd/prytany-enclave-docker

release: enclaves ## bin/release/prytany: one file, with the enclave programs in it
	rm -rf cmd/prytany/embedded && mkdir cmd/prytany/embedded
	cp bin/prytany-enclave bin/prytany-enclave-docker cmd/prytany/embedded/
	cd cmd/prytany/embedded && for p in prytany-enclave prytany-enclave-docker; do sha256sum $$p > $$p.sha256; done
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags release -o bin/release/prytany ./cmd/prytany
	rm -rf cmd/prytany/embedded

test: ## all tests
	go test ./...

race: ## the tests under the race detector (needs gcc)
	.ci/run race

lint: ## gofmt, go vet and golangci-lint, the import rule among its checks
	.ci/run format vet lint

fuzz: ## each fuzz target for FUZZTIME (15s)
	.ci/run fuzz

planted: ## that the simulator finds the bugs that are put into the code
	.ci/run planted

bench: ## all benchmarks
	go test -run '^$$' -bench . ./...

check: ## all that CI does
	.ci/run
