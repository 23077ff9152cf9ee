# `make demo` shows the main job; `make test` passes the tests. Each sets up what it needs and asks nothing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
STAMP := $(VENV)/.installed
export PYTHON

.PHONY: help demo test lint types tests oracle bench

help:
	@echo "make demo   watch a migration being proved and rolled back, on an embedded server"
	@echo "make test   lint, types and all tests"
	@echo "make bench  measure audit against plain replay"

# Again only when what is to be installed has changed.
$(STAMP): pyproject.toml tools/setup
	@tools/setup $(VENV)
	@touch $@

demo: $(STAMP)
	@$(VENV)/bin/unmigrate demo

test: lint types tests

lint: $(STAMP)
	$(VENV)/bin/ruff check src tests bench

types: $(STAMP)
	$(VENV)/bin/mypy

# -rs: what was skipped, and why. Tests wait for servers and processes as much as they compute: one worker more than there are cores.
# `make WORKERS=0 tests`: one after another, in one process.
WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) + 1 )))

tests: $(STAMP) oracle
	$(VENV)/bin/pytest -rs -n $(WORKERS) --dist worksteal

oracle:
	@tools/setup-tests

bench: $(STAMP)
	$(VENV)/bin/python bench/audit.py
