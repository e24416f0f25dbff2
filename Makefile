# Everything below first makes .venv from the locks where needed. Options go in ARGS: make up ARGS="--workers 2"

# The first of these that runs and is new enough makes .venv; name one to choose: make test PYTHON=python3.13
PYTHON ?= python3 python3.13 python3.12 python3.11
UV ?= uv
ARGS ?=

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

# A named interpreter of another version than the one in .venv makes it anew.
ifneq ($(origin PYTHON),file)
version = $(shell $(1) -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
.PHONY: $(LOCKED)
endif
endif

.PHONY: setup up test check bench drills locks clean

setup: $(READY)

$(LOCKED): requirements/dev.txt
	@for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$candidate" -m venv --clear .venv; \
		fi; \
	done; \
	echo "Trunkline needs Python 3.11 or newer and found none as: $(PYTHON). Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; \
	exit 1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/dev.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@touch $@

up: $(READY)
	$(BIN)/trunkline up $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

drills: $(READY)
	$(BIN)/python -m bench drills $(ARGS)

# Needs uv. Pins that are already there stay, unless ARGS="--upgrade" or ARGS="--upgrade-package NAME".
locks:
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements/run.txt
	$(LOCK) $(ARGS) pyproject.toml --group dev --constraints requirements/run.txt --output-file requirements/dev.txt
	$(LOCK) $(ARGS) pyproject.toml --extra local --constraints requirements/run.txt --output-file requirements/model.txt

# The data directory (.trunkline) stays.
clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
