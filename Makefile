# make run    set up .venv, run the quickstart pipeline, build its report
# make test   set up .venv, run the tests and every notebook
# make lab    open JupyterLab          make bench   measure every claim against its peer
# make lock   renew requirements.lock  make clean   remove .venv and build leftovers; runs and data stay

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test lab bench lock clean
.DEFAULT_GOAL := run

run: $(READY)
	@$(BIN)/workbench run quickstart

test: $(READY)
	$(BIN)/python -m pytest
	@export WORKBENCH_SCRATCH=$$(mktemp -d); trap 'rm -rf "$$WORKBENCH_SCRATCH"' EXIT; set -x; \
	$(BIN)/python -m pytest --nbval-lax notebooks/

lab: $(READY)
	@$(BIN)/workbench lab

bench: $(READY)
	@$(BIN)/python -m pip install --quiet --editable ".[bench]"
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# uv installs in a fraction of pip's time; it does not read pip's configuration, so the index is handed on.
# Where uv cannot serve (a proxy or certificates that only pip knows), pip does the work.
$(READY): requirements.lock pyproject.toml $(wildcard workbench/dashboards/labextension/* \
		workbench/dashboards/labextension/static/* workbench/kernels/kernelspec/*)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	"Workbench needs Python 3.11 to 3.13; %s is %d.%d. Name another: make run PYTHON=python3.12" \
	% (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	@index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}"; \
	export VIRTUAL_ENV=$(CURDIR)/$(VENV) $${index:+UV_DEFAULT_INDEX="$$index"}; \
	$(BIN)/uv pip install --quiet -r requirements.lock || $(BIN)/python -m pip install -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade \
		--no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
	find workbench tests benchmarks notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-type d -prune -exec rm -rf {} +
