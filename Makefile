# Everything a user or contributor does here. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
# Which TensorFlow is installed: tensorflow, cpu or gpu (docs/install.md).
TENSORFLOW ?= tensorflow

BIN := $(abspath $(VENV))/bin
# As if the environment were activated, so that mpirun and horovodrun are found.
RUN := PATH="$(BIN):$$PATH"
INSTALLED := $(VENV)/.installed-$(TENSORFLOW)
HOROVOD := $(VENV)/.horovod-$(TENSORFLOW)
ENGINES := $(VENV)/.engines-$(TENSORFLOW)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test test-long test-nightly cluster-test cluster-smoke hosts faults traces matrix keras-suite bench papers options notebook examples doctor check lint type format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))

demo: $(HOROVOD) ## trains digits on one process and on two, and compares
	@$(RUN) python examples/demo.py

quick: $(INSTALLED) ## runs the tests that start no process and load no TensorFlow (50 s)
	$(RUN) python -m pytest -n 2 -m quick

test: $(HOROVOD) ## runs the tests
	$(RUN) python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-long: $(HOROVOD) ## runs the tests of long jobs that it leaves out (long)
	$(RUN) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

test-nightly: $(HOROVOD) ## tries the nightly of Keras, which may have moved things (minutes)
	@$(RUN) python -m tests.nightly

cluster-test: $(HOROVOD) $(ENGINES) ## runs jobs on three hosts, made of namespaces, as root (an hour on two cores)
	@PYTHON="$(BIN)/python" scripts/host_packages.sh all
	$(RUN) python -m pytest -m cluster tests/cluster
	$(RUN) python -m pytest tests/fdtcore/test_kubernetes.py tests/fdtcore/test_gang.py

cluster-smoke: $(HOROVOD) ## runs those of them that tell most (1 min)
	@scripts/host_packages.sh
	$(RUN) python -m pytest -m "cluster and smoke" -rs tests/cluster

hosts: $(INSTALLED) ## leaves three such hosts up, to try things on
	@scripts/host_packages.sh
	@$(RUN) python -m tests.cluster up

faults: $(HOROVOD) ## breaks jobs in every way of the table of faults (minutes)
	$(RUN) python -m pytest -n 2 -m "" tests/test_faults.py tests/nfdt/test_stalls.py

traces: $(INSTALLED) ## rewrites the golden transcripts of who waits for whom
	$(RUN) python -m tests.nfdt.golden

matrix: $(HOROVOD) ## runs every three features together, in all ways (hours)
	$(RUN) python -m tests.matrix

keras-suite: $(HOROVOD) ## runs Keras's own tests on one process and on two (long)
	$(RUN) python -m tests.hfdt.keras_suite

bench: $(HOROVOD) ## measures speed against the alternatives (minutes)
	$(RUN) python -m benchmarks
	$(RUN) python -m benchmarks.simulator

papers: $(INSTALLED) ## puts the claims of papers to the test (some hours; goes on)
	$(RUN) nice -n 19 python -m benchmarks.papers

options: $(INSTALLED) ## rewrites the tables of options in the README and the docs
	$(RUN) python scripts/options.py

notebook: $(HOROVOD) ## executes the notebook of the examples, which keeps what it shows
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
		$(RUN) python "$(CURDIR)/scripts/notebook.py"

examples: $(HOROVOD) ## runs the digits examples on two processes
	$(RUN) hfdt run -np 2 examples/digits_single.py
	$(RUN) hfdt run -np 2 examples/digits_hfdt.py

doctor: $(HOROVOD) ## checks the installation and tries a 2-process allreduce
	$(RUN) hfdt doctor

check: lint type test cluster-smoke ## what continuous integration accepts

lint: $(INSTALLED) ## style, without changing anything
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports

type: $(INSTALLED) ## types
	$(RUN) mypy

format: $(INSTALLED) ## rewrites the code in the project's style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean: ## removes the environment and all caches of tools in this folder
	rm -rf "$(VENV)" build ./*.egg-info .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Stamps: done again only when what they were made from has changed.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(eval MISSING := $(shell scripts/preflight.sh "$(PYTHON)"))
	@$(if $(MISSING),$(error $(MISSING)))
	@echo "Installing into $(VENV) (TensorFlow is large: minutes, the first time) ..."
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	@PIP_CONSTRAINT="$(abspath constraints.txt)" PIP_DISABLE_PIP_VERSION_CHECK=1 \
		"$(BIN)/python" -m pip install --quiet \
		--editable '.[hfdt,nfdt,$(TENSORFLOW),examples,dev]'
	@touch $@

# Spark, Ray, Dask, and the schemas of Kubernetes: 1 GB that few need.
$(ENGINES): $(INSTALLED)
	@echo "Installing Spark, Ray and Dask into $(VENV) ..."
	@PIP_CONSTRAINT="$(abspath constraints.txt)" PIP_DISABLE_PIP_VERSION_CHECK=1 \
		"$(BIN)/python" -m pip install --quiet --editable '.[spark,ray,dask,manifests]'
	@touch $@

$(HOROVOD): $(INSTALLED) hfdt/install/sources.py
	@$(RUN) hfdt install-horovod
	@touch $@
