# Fanfare's tasks; `make help` lists them.
#
# Each task installs what it needs into .venv, from the hashed locks in requirements/, the first time
# and whenever those locks have changed.

PYTHON ?= python3
MINUTES ?= 30
BIN := .venv/bin
# The tools of the virtual environment come first; the generated stubs are importable.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/gen
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

# $(call switch,VARIABLE,OPTION) is the option if the variable is on, and nothing if it is off or
# not set. Any other value ends make: it must not leave authentication off unnoticed.
switch = $(if $(filter-out on true yes 1 off false no 0,$(call lower,$($(1)))),$(error \
    $(1)=$($(1)) is neither on nor off: write $(1)=on or $(1)=off))$(if \
    $(filter on true yes 1,$(call lower,$($(1)))),$(2))
lower = $(subst A,a,$(subst E,e,$(subst F,f,$(subst L,l,$(subst N,n,$(subst O,o,$(subst R,r,$(subst \
    S,s,$(subst T,t,$(subst U,u,$(subst Y,y,$(1))))))))))))
$(if $(filter auth=% Auth=%,$(MAKEOVERRIDES)),$(error the variable is AUTH, in capitals))
# The programs in a virtual environment contain its path. If the checkout was moved, make a new one.
ifeq ($(shell [ ! -L .venv ] && [ -s $(BIN)/.path ] && [ "$$(cat $(BIN)/.path)" != "$$(pwd -P)" ] && echo moved),moved)
$(info This folder was moved, so .venv is made again.)
$(shell rm -rf .venv)
endif

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(BIN)/.run ## Show what Fanfare does, on a throw-away system; AUTH=on with authentication
	@fanfare demo $(call switch,AUTH,--auth)

.PHONY: up
up: $(BIN)/.run ## Run everything until Ctrl-C; AUTH=on, PORTS=auto on free ports, METRICS=on with Prometheus
	@fanfare up $(call switch,AUTH,--auth) $(call switch,METRICS,--prometheus) $(if $(PORTS),--ports "$(PORTS)")

# Without the plugin of schemathesis, which only tests/fuzz needs, and whose import takes a second.
.PHONY: unit
unit: $(BIN)/.dev ## Run the unit tests: no servers, under 20 seconds
	@pytest -p no:schemathesis tests/unit

# One process more than CI has cores, because many tests wait for servers. Each process runs up to
# four systems, of about 1 GB each.
.PHONY: test
test: $(BIN)/.dev lint ## Run all checks and all tests, those with real servers too
	@pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder --durations=10

# Prints the seed. If a run fails, its steps are printed; SEED=n repeats the same steps.
.PHONY: torture
torture: export PYTHONPATH := $(PYTHONPATH):$(CURDIR)/tests
torture: $(BIN)/.dev ## Run random commands and faults for MINUTES=30, drawn from SEED=n
	@case "$(MINUTES)" in '' | 0* | *[!0-9]*) \
	    echo "MINUTES=$(MINUTES) is not a whole number above 0." >&2; exit 2 ;; esac
	@case "$(SEED)" in *[!0-9]*) echo "SEED=$(SEED) is not a whole number." >&2; exit 2 ;; esac
	@seed=$${SEED:-$$(python -c 'import random; print(random.randrange(10**9))')}; \
	    echo "make torture MINUTES=$(MINUTES) SEED=$$seed"; \
	    python tests/model/run.py --seconds $$(($(MINUTES) * 6)) --seed $$seed && \
	    python -m torture.run --minutes $(MINUTES) --seed $$seed

.PHONY: bench
bench: $(BIN)/.dev ## Measure everything against the raw limits, in 30 minutes; QUICK=1 in three
	@fanfare bench $(call switch,QUICK,--quick)

.PHONY: attackers
attackers: $(BIN)/.dev ## Measure what others notice of attackers; QUICK=1 takes three minutes
	@python -m bench.attackers $(if $(QUICK),--quick)

.PHONY: bench-tools
bench-tools: ## Build ghz, the gRPC load generator of `make bench`; needs Go
	@command -v go >/dev/null || { echo "Go is not installed (Debian: golang)." >&2; exit 1; }
	@GOBIN=$(CURDIR)/.fanfare/tools go install github.com/bojand/ghz/cmd/ghz@v0.120.0

.PHONY: conformance
conformance: $(BIN)/.dev ## Run the conformance suite of the Connect protocol; needs Go
	@command -v go >/dev/null || { echo "Go is not installed (Debian: golang)." >&2; exit 1; }
	@GOBIN=$(CURDIR)/.fanfare/tools go install connectrpc.com/conformance/cmd/connectconformance@v1.0.7
	@CONNECTCONFORMANCE=$(CURDIR)/.fanfare/tools/connectconformance \
	    pytest -p no:schemathesis tests/integration/gateway/test_conformance.py

.PHONY: lint
lint: $(BIN)/.dev ## Check style, types, import rules and migrations
	@ruff check
	@ruff format --check --quiet || { echo "Some files are not formatted; run make format." >&2; exit 1; }
	@mypy
	@lint-imports --no-logo 2>/dev/null || lint-imports
	@squawk --no-error-on-unmatched-pattern migrations/*.sql

.PHONY: format
format: $(BIN)/.dev ## Format the code and the protos
	@ruff check --fix
	@ruff format
	@buf format --write protos

.PHONY: gen
gen: $(BIN)/.dev ## Generate gen/ and the contract's documents from protos/, and Grafana's dashboards
	@python protos/generate.py gen
	@python protos/openapi.py docs/openapi.yaml
	@python protos/asyncapi.py docs/asyncapi.yaml
	@python protos/reference.py docs/reference
	@python deploy/observability/write_dashboards.py

.PHONY: gen-clients
gen-clients: $(BIN)/.dev ## Generate the code in clients/ from protos/; needs Go, Node.js, and Linux on x86-64
	@python -m clients.generate.go
	@python -m clients.generate.java
	@python -m clients.generate.python
	@cd clients/typescript && npm ci --ignore-scripts --silent
	@python -m clients.generate.typescript

.PHONY: lock
lock: $(BIN)/.dev ## Pin the newest versions that pyproject.toml allows
	@sh requirements/lock.sh
	@python requirements/sbom.py deploy/sbom.json

.PHONY: audit
audit: $(BIN)/.dev ## Check the pinned packages for known vulnerabilities
	@python requirements/audit.py

.PHONY: sbom
sbom: $(BIN)/.dev ## Write the software bill of materials, deploy/sbom.json
	@python requirements/sbom.py deploy/sbom.json

.PHONY: env
env: ## Write .env for docker compose, with random passwords
	@sh deploy/make-env.sh

.PHONY: clean
clean: ## Remove the environment and all data
	rm -rf .venv .fanfare

$(BIN)/.run: requirements/run.txt pyproject.toml
	$(call install,run)

$(BIN)/.dev: requirements/dev.txt pyproject.toml
	$(call install,dev)

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "$(PYTHON) is not Python 3.11 or later; install one, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@[ -w . ] || { echo "Cannot write to this folder; clone Fanfare to a folder that you can write to." >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { \
	    echo "Cannot create the virtual environment; install Python's venv module (Debian: python3-venv)." >&2; exit 1; }
	@echo "Installing the packages of requirements/$(1).txt into .venv (only the first time; takes about a minute) ..."
	@$(BIN)/pip install --quiet --require-hashes -r requirements/$(1).txt || { \
	    echo "Cannot install the packages; check that pip reaches its registry. The first lines above say more." >&2; exit 1; }
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@pwd -P > $(BIN)/.path
	@touch $@
endef
