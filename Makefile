# `make demo` shows the main job on embedded defaults; `make test` passes the tests. Both set up what they need.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PYTHON ?= $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3)
STAMP := $(VENV)/.installed

.PHONY: help demo test lint types tests oracle bench

help:
	@echo "make demo   watch a migration being proved and rolled back, on an embedded server"
	@echo "make test   lint, types and all tests"
	@echo "make bench  measure audit and rollback"

$(STAMP): pyproject.toml
	@tools/setup "$(PYTHON)" "$(VENV)"
	@touch $(STAMP)

demo: $(STAMP)
	@$(VENV)/bin/unmigrate demo

test: lint types tests

lint: $(STAMP)
	$(VENV)/bin/ruff check src tests bench

types: $(STAMP)
	$(VENV)/bin/mypy

tests: $(STAMP) oracle
	$(VENV)/bin/pytest

oracle: $(STAMP)
	@tools/setup-tests

bench: $(STAMP)
	$(VENV)/bin/python bench/audit.py
