# Tipring. `make` alone shows what there is.
GO            ?= go
BIN           := $(CURDIR)/.bin
GOLANGCI      := v2.15.0
GOVULNCHECK   := v1.1.4
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS       := -s -w -X main.version=$(VERSION)
TEST_TIMEOUT  ?= 15m
FUZZ_TIME     ?= 20s
BENCH         ?= .
ARGS          ?=
export TEST_TIMEOUT

# go install keeps the version in the file's name, so that a new pin is a new file.
LINT := $(BIN)/golangci-lint-$(GOLANGCI)
VULN := $(BIN)/govulncheck-$(GOVULNCHECK)

.DEFAULT_GOAL := help
.PHONY: help web run test check build setup lint fmt fmt-check tidy-check generate generate-check vet vuln bench fuzz load clean

help: ## show this
	@echo "Tipring: phone calls for programs. First: make run"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and start a server for development on 127.0.0.1 (ARGS="…" adds flags)
	./tipring serve --dev $(ARGS)

build: setup-build web ## build ./tipring
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o tipring ./cmd/tipring

test: setup web ## all tests: units, stories end to end, real SIP programs, a real browser (ARGS="-run X ./pkg" for some)
	@./test/setup/test.sh $(ARGS)

web: web/sdk/dist/tipring.js web/console/dist/index.html ## build what pages need: the SDK and the console (needs Node)

web/node_modules/.package-lock.json: web/package-lock.json web/package.json web/sdk/package.json web/console/package.json
	@echo "web: npm ci"; cd web && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

web/sdk/dist/tipring.js: web/node_modules/.package-lock.json openapi.yaml $(wildcard web/sdk/src/*.ts web/sdk/*.json web/sdk/*.ts web/sdk/*.mjs)
	@echo "web: build the SDK"; cd web && npm run --silent build -w sdk && touch sdk/dist/tipring.js

web/console/dist/index.html: web/sdk/dist/tipring.js openapi.yaml $(shell find web/console \( -name dist -o -name node_modules \) -prune -o -type f -not -name schema.d.ts -print)
	@echo "web: build the console"; cd web && npm run --silent build -w console && touch console/dist/index.html

check: fmt-check tidy-check generate-check vet lint vuln test ## everything that a change must pass

setup: ## install what tests need and is missing (apt-get); cheap when nothing is
	@./test/setup/install.sh test

.PHONY: setup-build
setup-build:
	@./test/setup/install.sh build

fmt: $(LINT) ## format all Go files
	$(LINT) fmt

fmt-check: $(LINT)
	@echo "== format"; d="$$($(LINT) fmt --diff)" || true; if [ -n "$$d" ]; then printf '%s\n' "$$d"; echo "run: make fmt"; exit 1; fi

tidy-check:
	@echo "== go.mod"; $(GO) mod tidy -diff || { echo "run: go mod tidy"; exit 1; }

generate: ## make generated code again
	$(GO) generate ./...

generate-check:
	@echo "== generated code"; ./test/setup/generated.sh

vet:
	@echo "== go vet"; $(GO) vet ./...

lint: $(LINT) ## golangci-lint, with the house's layers
	@echo "== golangci-lint"; $(LINT) config verify && $(LINT) run

vuln: $(VULN) ## known vulnerabilities in what we import
	@echo "== govulncheck"; ./test/setup/vuln.sh $(VULN)

bench: ## benchmarks (BENCH=name)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

fuzz: ## every fuzz target for FUZZ_TIME each
	@./test/setup/fuzz.sh $(FUZZ_TIME)

load: setup-build ## load test on loopback, server and generator on this machine (ARGS="w1 -h", "w2 -calls 100", …)
	$(GO) run ./test/load $(ARGS)

clean: ## remove what builds made
	rm -rf ./tipring .bin .tipring coverage.txt

$(LINT):
	@./test/setup/tool.sh github.com/golangci/golangci-lint/v2/cmd/golangci-lint $(GOLANGCI) $@

$(VULN):
	@./test/setup/tool.sh golang.org/x/vuln/cmd/govulncheck $(GOVULNCHECK) $@
