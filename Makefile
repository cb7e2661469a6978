# make test | quickstart | lint: each makes .venv when missing, installs under the constraints, and runs.
PYTHON ?= python3
# The index that torch comes from; empty means pip's ordinary one. The CPU-only form stands in the README.
TORCH_INDEX ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip
STAMP := $(VENV)/.installed

.PHONY: test quickstart lint

test: $(STAMP)
	$(VENV)/bin/python -m pytest

quickstart: $(STAMP)
	$(VENV)/bin/python scripts/quickstart.py

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# The stamp is written last: an install that was cut short is done again.
$(STAMP): setup.py constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) install --quiet -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)
