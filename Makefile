# Everything is installed into .venv; nothing outside this folder is changed.
#
#   make demo        install, then align a pair of real images from two sensors
#   make test        linters, types, layers and the default tests
#   make test-slow   the tests that take longer
#   make lint        linters, types and layers alone
#   make compare     install what the compared methods need
#   make bench       time a registration and a step of training
#   make picture     draw docs/images/registration.jpg
#   make clean       remove .venv and the demo
#
# Settings, for instance `make demo SAMPLE=moon_colour_elevation PYTHON=python3.13`:

PYTHON ?= python3
# What pip is asked for to get PyTorch: a version, another build, even an --index-url.
TORCH ?= torch==2.13.0
# A folder of samples/
SAMPLE ?= farmland_blue_swir
# Further arguments for pytest
PYTEST ?=
VENV ?= .venv

BIN := $(VENV)/bin
# Each of the two test processes computes on one core.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(PYTEST)

.PHONY: help demo install dev compare lint test test-slow bench picture clean

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

demo: install
	$(BIN)/sdme register samples/$(SAMPLE)/fixed.* samples/$(SAMPLE)/moving.* -o demo
	@echo "Look at file://$(CURDIR)/demo/report.html"

install: $(VENV)/.installed
dev: $(VENV)/.dev

# One of the methods asks for OpenCV with windows, which needs libraries that servers lack.
compare: install
	$(BIN)/python -m pip install --disable-pip-version-check $(TORCH) -e '.[compare]'
	$(BIN)/python -m pip uninstall -q -y opencv-python
	$(BIN)/python -m pip install -q --disable-pip-version-check --force-reinstall --no-deps opencv-python-headless

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

test: lint
	$(TEST)

test-slow: dev
	$(TEST) -m slow

bench: install
	$(BIN)/python benchmarks/register.py
	$(BIN)/python benchmarks/train_step.py --batch 4 --repeats 3

picture: install
	$(BIN)/python docs/images/make.py $(SAMPLE)

clean:
	rm -rf $(VENV) demo

# Python on Debian and Ubuntu can lack the part of venv that brings pip; pip itself then helps out.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is no Python 3.11 or newer: name one, as in make demo PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV) || \
	  { $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install -q pip; } || \
	  { echo "cannot make $(VENV): install venv for $(PYTHON) (apt install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@
