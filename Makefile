# AnyRefill. `make demo` paints with the embedded backbone, `make test` runs every check.
# Needs make and Python 3.11 or newer with venv; everything else goes into .venv/.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt docs renderer clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

# Each stamp is newer than pyproject.toml once what it names is installed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime ## paint every demonstration into out/demo
	$(BIN)/anyrefill demo --out out/demo

check: $(VENV)/.dev ## lint, import order and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

test: check ## check, then all tests
	$(BIN)/python -m pytest

fmt: $(VENV)/.dev ## format and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

renderer: $(VENV)/.runtime ## install what renders people and rooms, into ~/.cache/anyrefill
	$(BIN)/python -m recipes.world.fetch --renderer

docs: $(VENV)/.dev ## build the documentation into site/
	$(BIN)/mkdocs build --strict

clean: ## remove what was made, the environment too
	rm -rf $(VENV) out site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
