# Two commands from a fresh clone: `make compare` and `make test`. Needs Python 3.11+, make and pip.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: setup compare test test-fast fuzz lint docs gpu clean

setup: $(STAMP)

# Editable: with a plain install, Python started here would find ganbench/ but no ganbench.backends.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable ".[all,dev]"
	touch $@

compare: setup
	$(BIN)/ganbench compare --backends numpy,torch,torch.textbook,jax --budget 2m

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# What starts no worker, compiles nothing and runs no asv.
test-fast: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow"

# Run files in which any value was replaced, or any line: 13,000 of them, some ten minutes.
fuzz: setup
	GANBENCH_FUZZ=10000 $(BIN)/python -m pytest --numprocesses 2 tests/test_consistency.py -k any_

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Into site/. Without the variable, Material prints a notice about MkDocs 2, which pyproject.toml keeps out.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# With the PyTorch, JAX and CuPy that $(PYTHON) has already: nothing is created or installed.
gpu:
	$(PYTHON) benchmarks/gpu.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build site *.egg-info
