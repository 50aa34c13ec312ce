# Copyright The Tombolo Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What a person does with this tree. Nothing here decides anything: it calls go, or
# a script of .ci.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

MODULE := github.com/tombolo-io/tombolo
# Packages that are tested at the same time. Several start servers or namespaces of their own.
PARALLEL ?= 2
# Flags for every go test: make test TESTFLAGS='-v -run Peering'
TESTFLAGS ?=
# Flags for bench-fastpath: make bench-fastpath BENCHFLAGS='-short -json fastpath.json'
BENCHFLAGS ?=

# Flags for chaos: make chaos CHAOSFLAGS='-seed 42'
CHAOSFLAGS ?=

# Flags for the allocators in chaos: make chaos IPAMFLAGS='-n 10000000'
IPAMFLAGS ?=

# Registry in the names of the images that are made.
REGISTRY ?=

# One way to compile for tests, linters, programs and the lab, so that each package is compiled once.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -trimpath

# The directory with the lab's kube-apiserver, etcd and kubectl, which is built when it is not there.
ASSETS = $$(go run ./e2e/lab/cmd/lab binaries)
# The same for tests of the lab and in it: Open Cluster Management and Helm are built too, before the tests and not beside them.
LAB_ASSETS = $$(go run ./e2e/lab/cmd/lab binaries ocm helm)
GOTEST = go test $(TESTFLAGS)

##@ Try it

.PHONY: demo
demo: deps ## Bring a hub and two clusters up on this machine, join them, and send packets across (root)
	go run ./e2e/demo

.PHONY: demo-down
demo-down: ## Take the demo's clusters down again
	go run ./e2e/lab/cmd/lab down

##@ Test

.PHONY: test
test: deps test-packages test-e2e ## Everything, on real components (root; the first time builds Kubernetes, OCM and helm, 15 to 25 minutes)

.PHONY: test-packages
test-packages: ## Every package but e2e (root)
	assets=$(LAB_ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) -p $(PARALLEL) -timeout 20m \
		$$(go list ./... | grep -vx '$(MODULE)/e2e')

.PHONY: test-e2e
test-e2e: ## The stories of e2e, on whole clusters (root)
	assets=$(LAB_ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) -v -count=1 -timeout 60m ./e2e

.PHONY: test-unit
test-unit: ## What needs neither root nor servers: the plan
	$(GOTEST) ./federation/...

.PHONY: test-api
test-api: ## Every rule of the API, on a real kube-apiserver
	assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) ./apis/...

.PHONY: test-hub
test-hub: ## The hub, on a real kube-apiserver
	assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) -p $(PARALLEL) ./hub/...

.PHONY: test-agent
test-agent: ## The spoke agent: OVN, eBPF and interfaces of this kernel (root)
	assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) -p $(PARALLEL) ./spoke-agent/...

.PHONY: test-lab
test-lab: ## The lab that e2e runs in (root)
	assets=$(LAB_ASSETS); KUBEBUILDER_ASSETS=$$assets $(GOTEST) -p $(PARALLEL) ./e2e/lab/...

.PHONY: chaos
chaos: ## 1,000 hostile histories on the real hub and agents, every planted error, and 1,000,000 allocations and releases (root; hours): make chaos CHAOSFLAGS='-n 5000 -json FILE'
	assets=$(ASSETS); export KUBEBUILDER_ASSETS=$$assets; \
		go run ./e2e/chaos -n 1000 -clusters 3 -json chaos.json $(CHAOSFLAGS) && \
		go test -v -count=1 -timeout 6h ./e2e/chaos -histories 1 -worlds 1 -planted all && \
		go test -v -count=1 -timeout 1h ./e2e/chaos/ipam -planted 3 && \
		go run ./e2e/chaos/ipam -n 1000000 -json chaos-ipam.json $(IPAMFLAGS)

.PHONY: bench
bench: ## The benchmarks of the plan and the data path (root)
	go test -run '^$$' -bench . -benchmem ./federation/... ./spoke-agent/internal/...

.PHONY: bench-fastpath
bench-fastpath: ## Packets between clusters, beside kernel VXLAN and others on the same machine (root)
	go run ./e2e/bench/fastpath $(BENCHFLAGS)

##@ Change it

.PHONY: build
build: ## Programs into bin/
	go build -o bin/ ./hub/cmd/... ./spoke-agent/cmd/...

.PHONY: images
images: ## The images of hub and agent into bin/images, as archives: make images REGISTRY=registry.example.com
	go run ./e2e/lab/cmd/lab images bin/images --registry '$(REGISTRY)'

.PHONY: generate
generate: ## Deep copies, CRDs, OVN models, eBPF objects, docs/api.md and docs/cli.md from their sources
	@for tool in clang-14 llvm-strip-14; do command -v $$tool >/dev/null || \
		{ echo "$$tool is not installed, and another version of it makes other bytes: run .ci/install-deps generate" >&2; exit 1; }; done
	BPF2GO_CC=clang-14 BPF2GO_STRIP=llvm-strip-14 go generate ./...

.PHONY: fmt
fmt: ## Format Go and C
	.ci/golangci-lint fmt
	clang-format-14 -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

.PHONY: lint
lint: ## golangci-lint, with the rules of who may import what
	.ci/golangci-lint run

.PHONY: verify
verify: ## Everything that CI holds besides tests: generated files, linters, licences, go.mod
	.ci/verify

.PHONY: deps
deps: ## Install the Debian packages that are missing (root)
	@.ci/install-deps test

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
