# Postclick's two commands: `make demo` and `make test`. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test cluster-test ui lint bench clean

setup: $(STAMP)

# The project is installed editable; only a changed dependency list makes this run again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Postclick needs Python 3.11 or newer, this is %d.%d; set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: setup
	$(BIN)/postclick run --dataset demo --days 2026-01-05..2026-01-14 --as-of 2026-01-11..2026-01-12

# A worker a core; each takes about a gigabyte, so that more than four are not for every machine.
test: setup
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

# In pods on a real control plane; prints a table of faults and outcomes. KUBEBUILDER_ASSETS names the folder of
# kube-apiserver, kube-controller-manager and kube-scheduler. Debian: etcd-server kubectl postgresql-15 ceph radosgw.
cluster-test: setup
	KUBEBUILDER_ASSETS="$(KUBEBUILDER_ASSETS)" $(BIN)/python -m pytest -q -m cluster tests/cluster

ui: setup
	$(BIN)/postclick ui

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# With the public libraries that training is compared with.
$(VENV)/.installed-bench: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

bench: $(VENV)/.installed-bench
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) *.egg-info .ruff_cache .import_linter_cache
