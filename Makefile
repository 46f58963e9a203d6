# cepkit: everything a newcomer types. `make help` lists it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV ?= .venv
# Inside an environment of your own (conda, Binder): make TARGET PY=python
PY ?= $(VENV)/bin/python
READY := $(if $(filter $(VENV)/bin/python,$(PY)),$(VENV)/.ready)
INSTALL := -m pip install --disable-pip-version-check -q -c constraints.txt

# One thread per process: idle OpenMP threads spin, and the test workers share the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help lab test test-all demo browser gpu bench doctor d4rl lint size mutations format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "cepkit needs Python 3.11, 3.12 or 3.13 on the PATH"; exit 1; }
	@echo "Installing into $(VENV) (once, a few minutes) ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(INSTALL) -e '.[course,test]'
	@touch $@

lab: $(READY) ## open JupyterLab on the first notebook
	$(PY) -m jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_start_here.ipynb

test: $(READY) ## run the tests, a few minutes; the last line says what was left out
	$(PY) -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(READY) ## run the slow tests that `make test` leaves out
	$(PY) -m pytest -n 2 --dist loadgroup -m slow

demo: $(READY) ## notebook 00 without a browser: a table and one page with pictures, in build/demo
	$(PY) -m cepkit demo

browser: $(READY) ## drive the lab in a real Chromium and print how fast it answers; writes build/browser.md
	$(PY) -m pytest tests/browser -q
	@cat build/browser.md

gpu: $(READY) ## run the tests that need a CUDA device
	$(PY) -m pytest tests/gpu -q -rs

bench: $(READY) ## measure speed, accuracy and memory against the bars; writes build/bench.md
	$(PY) -m pytest tests/benchmarks -o python_files='bench_*.py' -q

doctor: $(READY) ## check this machine
	$(PY) -m cepkit doctor

d4rl: $(READY) ## add gym and d4rl (without mujoco-py, which no longer works)
	$(PY) $(INSTALL) -e '.[d4rl]'
	$(PY) -m pip install --disable-pip-version-check -q --no-deps d4rl==1.1

lint: $(READY) ## check style, notebooks included
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()" --no-logo

size: $(READY) ## print how large each room is, against the limits
	$(PY) tests/structure/size.py

mutations: $(READY) ## plant defects one by one and see whether the tests notice each
	$(PY) tests/mutations/run.py

format: $(READY) ## apply the style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove the environment and everything built
	rm -rf $(VENV) build
