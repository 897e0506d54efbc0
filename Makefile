# What a newcomer types: `make demo` and `make test`. `make` alone lists everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that is Python 3.11 or newer; `make PYTHON=/path/to/python3.12 env` takes another.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin

# Without compiled bytecode Prefect's embedded server takes four times as long to start.
unexport PYTHONDONTWRITEBYTECODE
# Neither of these belongs to this environment, and each would put other packages into it.
unexport PYTHONPATH PYTHONHOME
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: env
env: $(VENV)/.made ## make the environment in .venv, or update it when the requirements changed

$(VENV)/.made: requirements.txt requirements-dev.txt
	@[[ -n "$(PYTHON)" ]] || { echo "gloss needs Python 3.11 or newer, and python3 is $$(python3 --version 2>&1 || true);" \
		"install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making the environment in $(VENV) with $(PYTHON) ($$($(PYTHON) -V)); this takes some minutes the first time"
	@[[ -x $(BIN)/pip ]] || $(PYTHON) -m venv $(VENV) || { echo "python3's venv module is missing (on Debian and" \
		"Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "installing requirements-dev.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@echo "installing gloss itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
	@echo "the environment is ready: $(BIN)/gloss"

.PHONY: demo
demo: env ## run the whole pipeline on the model and the text that ship with gloss: CPU, no network, no key
	HF_HUB_OFFLINE=1 $(BIN)/gloss run deployments/demo/demo.yaml

# Tests of one file stay in one process, since files share models and servers. Threads that wait must not spin:
# two processes with as many threads as cores would keep each other from working.
.PHONY: test
test: env ## run the tests
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: lint
lint: env ## check style, types, imports, SQL and the generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint storage/sql
	$(BIN)/python -m storage.tables_doc --check
	$(BIN)/python -m flows.config_doc --check
	$(BIN)/python -m deployments.readme --check

.PHONY: format
format: env ## write the code as `make lint` wants it, where that can be done without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix storage/sql

.PHONY: docs
docs: env ## write the generated pages again
	$(BIN)/python -m storage.tables_doc
	$(BIN)/python -m flows.config_doc
	$(BIN)/python -m deployments.readme

.PHONY: clean
clean: ## remove the environment and caches; lakes are left alone
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis
