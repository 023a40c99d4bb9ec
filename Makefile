# `make demo`: install and show a leaderboard. `make test`: everything that CI checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint ci/constraints.txt
# torch's CPU build; elsewhere: make demo TORCH_INDEX=--extra-index-url=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

# What is compiled once is not compiled by every process of every test.
unexport PYTHONDONTWRITEBYTECODE
# What mypy and ruff know of a file is kept from clone to clone.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/adaptbench-checks
export MYPY_CACHE_DIR := $(shell mkdir -p $(CACHE)/mypy 2>/dev/null && echo $(CACHE)/mypy || echo .mypy_cache)
export RUFF_CACHE_DIR := $(dir $(MYPY_CACHE_DIR))ruff

.PHONY: help demo test quick lint types layers tests compat kernels campaigns faults bench train lock clean

help:
	@echo "make demo       install into $(VENV) and run the suite demo: runs/demo/leaderboard.html"
	@echo "make test       install what testing needs and run lint, types, layers and tests"
	@echo "make quick      run within 90 s what a change most likely breaks"
	@echo "make compat     test the oldest and the newest libraries that pyproject.toml allows, in .compat (ENDS=floor: one of them)"
	@echo "make kernels    run the numerical tests under every matrix kernel of this processor"
	@echo "make campaigns  kill trainings twenty times, and try every property on thousands of examples"
	@echo "make faults     kill runs hundreds of times, spoil files, and have rules read any output, for hours: docs/reliability.md"
	@echo "make bench      compare speed side by side (pytest-benchmark)"
	@echo "make train      train the shipped ViT again, into runs/vit-glyphs"
	@echo "make lock       write ci/constraints.txt anew from what is installed"
	@echo "make clean      remove $(VENV), .compat and caches"

$(VENV)/made: ci/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_INDEX) torch
	@touch $@

$(VENV)/all: pyproject.toml $(VENV)/made
	$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/dev: pyproject.toml $(VENV)/all
	$(PIP) --editable '.[all,dev]'
	@touch $@

$(VENV)/bench: $(VENV)/dev
	$(PIP) --editable '.[all,bench]'
	$(PIP) --no-deps easyfsl==1.5
	@touch $@

demo: $(VENV)/all
	$(BIN)/adaptbench run demo --out runs/demo
	@$(BIN)/adaptbench report runs/demo --out runs/demo/leaderboard.html

test: lint types layers tests

quick: $(VENV)/dev
	@$(BIN)/python ci/quick.py

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	@mkdir -p .typing && ln -sfn .. .typing/adaptbench
	MYPYPATH=.typing $(BIN)/mypy -p adaptbench.harness -p adaptbench.tasks -p adaptbench.models -p adaptbench.adapters -p adaptbench.leaderboards

layers: $(VENV)/dev
	$(BIN)/lint-imports

tests: $(VENV)/dev
	@ci/chromium.sh
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

compat:
	PYTHON='$(PYTHON)' TORCH_INDEX='$(TORCH_INDEX)' ci/compat.sh $(ENDS)

kernels: $(VENV)/dev
	$(BIN)/python ci/kernels.py

campaigns: $(VENV)/dev
	$(BIN)/python ci/campaigns.py

faults: $(VENV)/dev
	$(BIN)/python ci/faults --page docs/reliability.md

bench: $(VENV)/bench
	$(BIN)/python -m pytest ci/benchmarks --benchmark-columns=min,median,max,rounds -s

train: $(VENV)/all
	$(BIN)/python -m adaptbench.models.reference.train_vit_glyphs --out runs/vit-glyphs

lock: $(VENV)/bench
	$(BIN)/python -m pip freeze --exclude-editable --exclude easyfsl | sed 's/+cpu//' > ci/constraints.txt

clean:
	rm -rf $(CACHE) $(VENV) .compat .typing/adaptbench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
