# One command each. Everything happens in a private environment, .venv; nothing outside this folder is changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CODE   := controller dashboards deploy drivers shedload simulator tests setup.py
NATIVE := $(wildcard shedload/hashing/*.c shedload/hashing/*.h)

.PHONY: help demo test check bench style types layers lock dashboards clean

help:
	@echo "make demo    a simulated farm, the real daemon, two minutes (watch it in the terminal)"
	@echo "make test    format, lint, types, layers and the whole suite: all that CI runs"
	@echo "make check   the quick inner loop, under a minute"
	@echo "make bench   measure; writes build/bench.json"
	@echo "make lock    renew the lock files after a change of pyproject.toml"

$(VENV)/runtime: requirements/runtime.lock pyproject.toml setup.py $(NATIVE) deploy/environment.py
	@$(PYTHON) deploy/environment.py $(VENV) runtime
	@touch $@

$(VENV)/test: requirements/test.lock pyproject.toml setup.py $(NATIVE) deploy/environment.py
	@$(PYTHON) deploy/environment.py $(VENV) test
	@touch $@ $(VENV)/runtime

demo: $(VENV)/runtime
	@$(BIN)/shedload demo

style: $(VENV)/test
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: $(VENV)/test
	$(BIN)/mypy

layers: $(VENV)/test
	$(BIN)/lint-imports

test: style types layers
	$(BIN)/pytest -n 2 --dist loadgroup

check: style types layers
	$(BIN)/pytest -n 2 -q -m "not slow" tests/unit

bench: $(VENV)/test
	$(BIN)/python -m tests.bench

dashboards: $(VENV)/test
	$(BIN)/python -m dashboards

lock: $(VENV)/test
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    pyproject.toml requirements/build.in -o requirements/runtime.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra test \
	    pyproject.toml requirements/build.in -o requirements/test.lock

clean:
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
