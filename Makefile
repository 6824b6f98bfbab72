# .ci/run holds the steps; these are short names for them.

.PHONY: help build test race lint fuzz planted bench check

help: ## list the targets
	@sed -n 's/^\([a-z]*\): *## /\1\t/p' $(MAKEFILE_LIST)

build: ## bin/prytany
	CGO_ENABLED=0 go build -trimpath -o bin/prytany ./cmd/prytany

test: ## all tests
	go test ./...

race: ## the tests under the race detector (needs gcc)
	.ci/run race

lint: ## gofmt, go vet and golangci-lint, the import rule among its checks
	.ci/run format vet lint

fuzz: ## each fuzz target for FUZZTIME (30s)
	.ci/run fuzz

planted: ## that the simulator finds the bugs that are put into the code
	.ci/run planted

bench: ## all benchmarks
	go test -run '^$$' -bench . ./...

check: ## all that CI does
	.ci/run
