# `make help` lists what there is. Only Go, git and make are needed; everything else is built on first use and kept in
# $XDG_CACHE_HOME/belay (default ~/.cache/belay).
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false
BUILD := $(CURDIR)/build
BIN := $(BUILD)/bin
TESTBED := $(BIN)/testbed
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X github.com/belay-delivery/belay/internal/cli.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

##@ Use

.PHONY: demo demo-down
demo: ## run the whole loop on this machine: commit, canary, bad version, rollback, revert (SCENARIO=environments: staging and prod; KEEP=1 leaves it running)
	go run ./test/demo $(if $(SCENARIO),--scenario=$(SCENARIO)) $(if $(KEEP),--keep)
demo-down: ## stop exactly what a demo left running
	go run ./test/demo --down

.PHONY: build
build: ## build the manager and the plugin into build/bin
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/belay ./cmd/belay
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/kubectl-belay ./cmd/kubectl-belay

##@ Test

.PHONY: test test-unit test-integration test-e2e test-testbed
test: ## everything: unit, simulation, integration on a real API server, end to end on real traffic
	./test/run all
test-unit: ## what needs no API server; what does is skipped
	go test -timeout 20m ./...
test-integration: ## unit, simulation and integration tests on a real API server
	./test/run integration
test-e2e: ## end-to-end tests on real traffic
	./test/run e2e
test-testbed: ## tests of the testbed itself
	cd test/testbed && go test ./...

.PHONY: e2e-node test-translate test-forge
e2e-node: ## the core of the end-to-end tests on a real kubelet with containers (root; builds them once: 15 minutes)
	./test/testbed/realnode/run.sh
test-forge: ## the revert, pull requests and webhooks against a real forge, Gitea (builds it once: 15 minutes; FORGE_BUILD=0 does not)
	./test/forge/run
EGCTL := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/belay/egctl-$(shell sha256sum test/testbed/egctl/go.sum 2>/dev/null | cut -c1-16)
test-translate: ## ask Envoy Gateway's translator what our routes mean (builds it once: 10 minutes)
	@test -x $(EGCTL) || { echo "building egctl: about 10 minutes, once"; mkdir -p $(dir $(EGCTL)); cd test/testbed/egctl && go build -ldflags "-s -w" -o $(EGCTL) github.com/envoyproxy/gateway/cmd/egctl; }
	BELAY_EGCTL=$(EGCTL) go test -count=1 -v ./test/translate

.PHONY: testbed testbed-up testbed-down mutants
mutants: ## break planner and shell in 35 places, one at a time, and show that the tests notice
	go run ./test/faults/mutants

testbed: ## build the command that runs the testbed, and its parts
	@mkdir -p $(BIN)
	cd test/testbed && go build -o $(TESTBED) ./cmd/testbed
	$(TESTBED) build
testbed-up: testbed ## start control plane, gateway, Prometheus and Git server by hand
	$(TESTBED) up --dir $(BUILD)/testbed --detach
	@echo "enter it with: $(TESTBED) exec --dir $(BUILD)/testbed -- bash"
testbed-down: ## stop them
	$(TESTBED) down --dir $(BUILD)/testbed

##@ Develop

.PHONY: generate
generate: ## write deepcopy functions, CRDs and reference pages
	cd internal/tools && go build -o $(BIN)/ sigs.k8s.io/controller-tools/cmd/controller-gen ./crdgen ./refdoc
	$(BIN)/controller-gen object paths=./api/...
	$(BIN)/controller-gen crd:generateEmbeddedObjectMeta=true paths=./api/... output:crd:dir=config/crd
	$(BIN)/crdgen config/crd
	$(BIN)/refdoc config/crd docs/reference

.PHONY: bench fuzz
BENCHTIME ?= 1s
bench: ## what the engine, the plan of a Sync and the revert cost: every Go benchmark, with memory (BENCHTIME=1s)
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 60m $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)
FUZZTIME ?= 20s
fuzz: ## every fuzzer, one after the other: what comes from Git, Prometheus, webhooks, registries and files (FUZZTIME=20s of each)
	./test/fuzz $(FUZZTIME)

.PHONY: bench-verdicts
SEEDS ?= 1000
bench-verdicts: ## how verdicts do, against other rules: writes the tables of docs/verdicts.md (1,000 seeds: about an hour of one core; build/verdicts keeps what was measured: remove it when rules change)
	go run ./test/verdicts/bench -seeds $(SEEDS)

.PHONY: bench-drift
EDITS ?= 200
bench-drift: ## how soon an edit is noticed and corrected, on a testbed that is up (make testbed-up): p50 and p99 (EDITS=200)
	$(TESTBED) exec --dir $(BUILD)/testbed -- env BELAY_TEST_REQUIRE=1 BELAY_DRIFT_EDITS=$(EDITS) BELAY_TEST_KUBECONFIG=$(BUILD)/testbed/controlplane/pki/admin.kubeconfig GOPROXY=off \
		go test -count=1 ./controllers/sync -run TestG04_NoticedAtOnce -v

.PHONY: bench-idle
SYNCS ?= 1000
bench-idle: build ## what 1,000 Syncs of 5 objects cost at rest, counted by the API server of a testbed that is up (SYNCS=1000)
	$(TESTBED) exec --dir $(BUILD)/testbed -- env BELAY_TEST_REQUIRE=1 BELAY_IDLE_BELAY=$(BIN)/belay BELAY_IDLE_SYNCS=$(SYNCS) BELAY_TEST_KUBECONFIG=$(BUILD)/testbed/controlplane/pki/admin.kubeconfig GOPROXY=off \
		go test -count=1 -timeout 40m ./test/idle -run TestIdleCost -v

.PHONY: lint
lint: ## golangci-lint with depguard and the Kubernetes API linter (.golangci.yml)
	cd internal/tools/lint && go build -o $(BIN)/golangci-lint sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter
	$(BIN)/golangci-lint run ./...

.PHONY: verify
verify: ## generated files, formatting, modules, linters
	./test/verify
	$(MAKE) lint

.PHONY: clean
clean: ## remove build/; the cache of the testbed's parts stays
	rm -rf $(BUILD)
