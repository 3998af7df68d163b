.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install demo costs test lint check docs wheel clean
help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# PyPI's torch for Linux is the one for NVIDIA GPUs, 5 of the 6 GB. Where pip knows an index with
# CPU builds (PIP_EXTRA_INDEX_URL), it takes those: 2.15.0+cpu is what constraints.txt asks for, too.
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

install: .venv/installed ## Install everything into .venv

.venv/core: pyproject.toml constraints.txt
	@echo "Installing what synthgen needs into .venv: 6 GB, 5 of them torch for NVIDIA GPUs; a few minutes."
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -e .
	@touch $@

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing all extras and tools into .venv: 8 GB; a few minutes."
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) -e '.[augment,edges,evaluate,features,formats,prompts,ray,review,sign,training,docs,dev]'
	@touch .venv/core $@

.venv-datumaro: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ datumaro==1.13.12 imagesize==2.0.1 json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 orjson==3.13.0 shapely==2.2.0 # CVAT's own library, whose pins do not fit beside

demo: .venv/core ## Write a labelled defect dataset, painted by the embedded model, to runs/demo
	$(BIN)/synthgen generate run.folder=runs/demo

# Each worker imports torch and diffusers; a file of tests stays together, for its fixtures.
WORKERS ?= 2
unexport PYTHONDONTWRITEBYTECODE # where it is set, each of the tests' commands would compile torch anew

costs:
	@echo "make test: 8 GB in .venv once, then about 15 minutes on 2 cores."

test: costs install .venv-datumaro ## Run the tests, WORKERS files beside each other
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: install ## Check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy synthgen

check: lint test ## Run the whole gate: style, types, tests

docs: install ## Build the pages of docs/ into build/site: open build/site/index.html
	$(BIN)/mkdocs build --quiet

wheel: install ## Build dist/*.whl
	$(BIN)/python -m build --wheel

clean: ## Remove what was built; runs/ stays
	rm -rf .venv .venv-datumaro dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache
