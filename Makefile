# Two commands from a fresh clone: `make compare` and `make test`. Needs Python 3.11+, make and pip.
PYTHON ?= python3
BIN := .venv/bin
MEASURES := .venv/measures
STAMP := .venv/installed
INSTALL := $(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable

.PHONY: setup compare test test-all test-kernels fuzz lint docs pictures cuda-env cuda-tests frameworks-env gpu clean

setup: $(STAMP)

# Editable: with a plain install, Python started here would find ganbench/ but no ganbench.backends.
$(MEASURES): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools --constraint constraints.txt
	$(INSTALL) ".[torch,jax]"
	touch $@

$(STAMP): $(MEASURES)
	$(INSTALL) ".[all,dev]"
	touch $@

# Only what it needs: the rest, of tests, pages and fleets, is half of all the time to install.
compare: $(MEASURES)
	$(BIN)/ganbench compare --backends numpy,torch,torch.textbook,jax --budget 3m

# What `make test` leaves out; pyproject.toml says what each mark stands for.
REST := large or odd or modes or workers or studies or fleet or browser or asv or site or cuda or frameworks
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# For newcomers: every part once, in small models and default modes.
test: setup
	$(PYTEST) -m "not ($(REST))"

# For whoever changes the code: `make test`, and then the rest.
test-all: test
	$(PYTEST) -m "$(REST)"

# The tests of numbers with the kernels of other processors.
test-kernels: setup
	$(BIN)/python tests/kernels.py -- --numprocesses 2 --dist worksteal

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

# The pictures of README and documents, anew from committed runs; those of trainings are what the trainings left.
SHOWN = $(shell sed -n 's/^<!-- \(results.*\) -->$$/\1/p' README.md)
DENSE = results/frameworks/20261129T183851Z-5358.jsonl
IMAGES = results/frameworks/20261129T211708Z-49b2.jsonl
pictures: setup
	$(BIN)/python benchmarks/studies/pictures.py
	$(BIN)/ganbench report $(SHOWN) --picture docs/pictures/speeds-light.svg
	$(BIN)/ganbench report $(SHOWN) --picture docs/pictures/speeds-dark.svg --theme dark
	$(BIN)/ganbench report $(DENSE) --picture docs/pictures/frameworks-light.svg
	$(BIN)/ganbench report $(DENSE) --picture docs/pictures/frameworks-dark.svg --theme dark
	$(BIN)/ganbench report $(IMAGES) --picture docs/pictures/frameworks-images-light.svg
	$(BIN)/ganbench report $(IMAGES) --picture docs/pictures/frameworks-images-dark.svg --theme dark
	GANBENCH_PICTURES=docs/pictures $(BIN)/python -m pytest tests/test_page.py -k screenshot

# Two CuPys with NVRTC, for the tests marked cuda; where these are not to be had, their tests are skipped.
cuda-env: .cuda/newest/installed .cuda/oldest/installed

.cuda/newest/installed: constraints.txt
.cuda/oldest/installed: tests/cuda/oldest.txt
.cuda/%/installed: pyproject.toml | setup
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --no-warn-conflicts --target $(@D) --group cuda-tests --constraint $(filter %.txt,$^)
	touch $@

# TensorFlow, Keras and MLX, for the tests marked frameworks, which are skipped without them.
frameworks-env: .frameworks/installed

.frameworks/installed: pyproject.toml constraints.txt | setup
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --no-warn-conflicts --target $(@D) --group frameworks --constraint constraints.txt
	touch $@

# CUDA code without a GPU.
cuda-tests: setup
	$(PYTEST) -m cuda tests/cuda

# With the PyTorch, JAX and CuPy that $(PYTHON) has already, or PYTHONS="jax=/opt/jax/bin/python": nothing is installed.
gpu:
	$(PYTHON) benchmarks/gpu.py $(foreach one,$(PYTHONS),--python $(one))

clean:
	rm -rf .venv .cuda .frameworks .mypy_cache .pytest_cache .ruff_cache .hypothesis build site *.egg-info
