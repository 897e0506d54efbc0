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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: env
env: $(VENV)/.made ## make the environment in .venv, or update it when the requirements changed

$(VENV)/.made: requirements.txt requirements-dev.txt requirements-real.txt
	@[[ -n "$(PYTHON)" ]] || { echo "gloss needs Python 3.11 or newer, and python3 is $$(python3 --version 2>&1 || true);" \
		"install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making the environment in $(VENV) with $(PYTHON) ($$($(PYTHON) -V)); this takes some minutes the first time"
	@[[ -x $(BIN)/pip ]] || $(PYTHON) -m venv $(VENV) || { echo "python3's venv module is missing (on Debian and" \
		"Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "installing requirements-dev.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@echo "installing requirements-real.txt, without what it needs for other things"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-real.txt
	@echo "installing gloss itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
	@echo "the environment is ready: $(BIN)/gloss"

# SET changes keys of its config: make demo SET="--set features.n=50". demo-small has its own.
DEMO = HF_HUB_OFFLINE=1 $(BIN)/gloss run deployments/demo/demo.yaml $(SET)
.PHONY: demo
demo: env ## explain SmolLM2-135M: a trained coder, neurons and random weights side by side; CPU, no key
	$(DEMO)

# What CI runs of it, and once more, which has to find nothing to do.
.PHONY: demo-small
demo-small: SET = --set run=demo-small --set corpus.tokens=32_768 --set features.n=20 --set sample.min_firings=40
demo-small: demo ## the same with less text and fewer features
	$(DEMO) | grep "Nothing left to do"

# Earlier names of these; their runs are called demo, demo-small and demo-vllm.
.PHONY: real real-small real-vllm
real: demo
real-small: demo-small
real-vllm: demo-vllm

# Tests of one file stay in one process, since files share models and servers. Threads that wait must not spin:
# two processes with as many threads as cores would keep each other from working.
.PHONY: test
test: env ## run the tests
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n 2 --dist loadfile

# These are commands of their own: handed out one by one, long ones first, but for those that share a fixture of a file.
.PHONY: test-e2e
test-e2e: env ## run the whole command, Prefect and all, in many ways
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m e2e -n 2 --dist loadgroup

.PHONY: test-faults
test-faults: env ## kill and restart runs, and let them fail, for some minutes
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m faults

# Other people's coders, in the same environment: they change none of its versions. The last two pin old ones of
# packages that they don't need for their coders.
.PHONY: test-parity
test-parity: $(VENV)/.parity ## compare coders with the libraries that they come from
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q tests/tasks/coders/parity

$(VENV)/.parity: requirements-parity.txt $(VENV)/.made
	@echo "installing requirements-parity.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-parity.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps dictionary-learning==0.1.0 circuit-tracer==0.5.0
	@touch $@

.PHONY: lint
lint: env ## check style, types, imports, SQL, the generated pages and the docs' site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint storage/sql
	$(BIN)/python -P docs/generate/tables.py --check
	$(BIN)/python -P docs/generate/config.py --check
	$(BIN)/python -P docs/generate/modules.py --check
	$(BIN)/python -P docs/generate/readme.py --check
	$(SITE)

# The theme prints a notice of its successor otherwise.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
.PHONY: site
site: env ## build the docs as a site in site/, to be read without a network
	$(SITE)

.PHONY: format
format: env ## write the code as `make lint` wants it, where that can be done without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix storage/sql

.PHONY: docs
docs: env ## write the generated pages again
	$(BIN)/python -P docs/generate/tables.py
	$(BIN)/python -P docs/generate/config.py
	$(BIN)/python -P docs/generate/modules.py
	$(BIN)/python -P docs/generate/readme.py

# Other people's systems, for benchmarks/: delphi needs an older transformers, and installs vLLM for what is not measured.
PEERS := .venv-peers
.PHONY: bench-peers
bench-peers: $(PEERS)/.made ## make the environment that benchmarks compare with

$(PEERS)/.made: requirements-peers.txt
	@[[ -x $(PEERS)/bin/pip ]] || $(PYTHON) -m venv $(PEERS)
	@echo "installing requirements-peers.txt, then delphi without what it needs for other things"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-peers.txt
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps eai-delphi==0.1.3 eai-sparsify==1.3.3
	@touch $@
	@echo "the peers' environment is ready: $(PEERS)"

# A real server, in an environment of its own as well. Its command asks for the version of a package `vllm`, which the build
# for CPUs is not called.
VLLM ?= .venv-vllm
.PHONY: test-vllm
test-vllm: env $(VLLM)/.made ## ask a real vLLM server, on a CPU
	GLOSS_VLLM=$(VLLM)/bin/vllm OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m vllm tests/vllm

.PHONY: demo-vllm
demo-vllm: env $(VLLM)/.made ## explain features of SmolLM2-135M with itself, served by vLLM on a CPU, and count what it does
	VLLM=$(abspath $(VLLM))/bin/vllm HF_HUB_OFFLINE=1 $(BIN)/python -m deployments.demo.demo_vllm $(SET)

$(VLLM)/.made: requirements-vllm.txt
	@[[ -x $(VLLM)/bin/pip ]] || $(PYTHON) -m venv $(VLLM)
	@echo "installing requirements-vllm.txt: vLLM for CPUs, two and a half gigabytes"
	@$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm.txt
	@site=$$($(VLLM)/bin/python -c 'import site; print(site.getsitepackages()[0])'); \
		named="$$site/vllm-0.32.0+cpu.dist-info"; mkdir -p "$$named"; echo gloss >"$$named/INSTALLER"; touch "$$named/RECORD"; \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$$named/METADATA"
	@touch $@
	@echo "vLLM's environment is ready: $(VLLM)"

# What deployments/vllm/*.sh start, on a machine with GPUs: gigabytes of CUDA.
VLLM_GPU := .venv-vllm-gpu
.PHONY: vllm
vllm: $(VLLM_GPU)/.made ## make the environment of model servers on NVIDIA GPUs, which deployments/vllm/*.sh start

$(VLLM_GPU)/.made: deployments/vllm/requirements.txt
	@[[ -x $(VLLM_GPU)/bin/pip ]] || $(PYTHON) -m venv $(VLLM_GPU)
	@echo "installing deployments/vllm/requirements.txt: vLLM and CUDA, gigabytes of them"
	@$(VLLM_GPU)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r deployments/vllm/requirements.txt
	@touch $@
	@echo "vLLM is ready: $(VLLM_GPU)/bin/vllm, which deployments/vllm/*.sh start"

.PHONY: clean
clean: ## remove the environment and caches; lakes are left alone
	rm -rf $(VENV) $(PEERS) $(VLLM) $(VLLM_GPU) .pytest_cache .ruff_cache .import_linter_cache .hypothesis
