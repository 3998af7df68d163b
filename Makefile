.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install demo test lint check wheel clean
help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## Install everything into .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[edges,evaluate,formats,sign,training,dev]'
	@touch $@

demo: install ## Write a labelled defect dataset, painted by the embedded model, to runs/demo
	$(BIN)/synthgen generate run.folder=runs/demo

test: install ## Run the tests
	$(BIN)/pytest

lint: install ## Check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy synthgen

check: lint test ## Run the whole gate: style, types, tests

wheel: install ## Build dist/*.whl
	$(BIN)/python -m build --wheel

clean: ## Remove what was built; runs/ stays
	rm -rf .venv dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache
