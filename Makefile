# Python 3.11 or later is the only requirement: make builds .venv, and rebuilds it when the requirements change.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# Tests start hundreds of interpreters: none compiles again what is cached.
unexport PYTHONDONTWRITEBYTECODE
# Each test file runs in one process, so that its servers start once. Two processes for each core: tests of servers
# wait for events half of their time. A process collects a file when it runs it (tests/file_by_file.py), so nobody knows
# the number of tests, and no percentage is shown.
PARALLEL := -n $(shell expr 2 '*' $$(nproc)) --dist loadfile --no-loadscope-reorder
# The first engine of these that is installed.
ENGINE ?= $(shell for engine in docker podman buildah; do command -v $$engine >/dev/null && echo $$engine && break; done)
IMAGE ?= gateway

.PHONY: help demo pacs-demo test-fast test test-slow test-all bench bench-peers lint types web web-check lock image image-base clean

help:
	@echo "make demo        serve the example models, send them a study, write pictures to demo-output/"
	@echo "make pacs-demo   send a study to the gateway as a modality, and see its SEG in Orthanc, in pacs-demo-output/"
	@echo "make test-fast   run the quick tests that start no process, in less than a minute"
	@echo "make test        run all tests but the slow tier"
	@echo "make test-slow   run the slow tier: minutes, and a package index"
	@echo "make test-all    run both; a missing program fails a test instead of skipping it"
	@echo "make bench       measure the cost of the gateway beside a plain server, in ratios"
	@echo "make bench-peers measure FastAPI, LitServe and BentoML too, each in an environment of its own"
	@echo "make lint        run ruff"
	@echo "make types       run mypy --strict"
	@echo "make web         build the page of /ui from web/, with Node and npm"
	@echo "make web-check   check its types and style, and that its build is the one in gateway/endpoints/pages/ui"
	@echo "make lock        resolve the packages of the container image, with hashes, into requirements.lock"
	@echo "make image       build the container image with docker, podman or buildah"
	@echo "make image-base  make its base image from Debian's packages, where no image can be pulled; as root"
	@echo "make clean       remove everything that make has created"

demo: $(VENV)/runtime
	$(RUN) demo.py demo-output

pacs-demo: $(VENV)/pacs
	$(RUN) pacs_demo.py pacs-demo-output

test-fast: $(VENV)/test
	HYPOTHESIS_PROFILE=fast $(RUN) -m pytest -q $(PARALLEL) -m "not slow and not server and not heavy"

test: $(VENV)/test
	$(RUN) -m pytest -q $(PARALLEL) -m "not slow"

test-slow: $(VENV)/test
	$(RUN) -m pytest -q $(PARALLEL) -m slow

test-all: export GATEWAY_TEST_REQUIRE := all
test-all: test test-slow

bench: $(VENV)/test
	$(RUN) -m benchmarks

bench-peers: $(VENV)/test
	$(RUN) -m benchmarks --peers

lint: $(VENV)/dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/dev
	$(RUN) -m mypy gateway utils models tests benchmarks demo.py pacs_demo.py

# What the page is built from is in web/; the build is committed, so that serving it needs no Node.
web: web/node_modules/.installed
	npm --prefix web run --silent build

web-check: web/node_modules/.installed
	npm --prefix web run --silent check

web/node_modules/.installed: web/package-lock.json
	npm --prefix web ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# Resolved for the image's Python and system; requirements.txt has the direct pins.
lock: $(VENV)/dev
	$(RUN) -m uv pip compile --quiet setup.cfg --extra gdcm --extra store --extra dimse --extra nifti \
		--extra nninteractive --extra models --extra compat --constraint requirements.txt --python-version 3.11 --python-platform linux \
		--generate-hashes --no-annotate --no-header --upgrade --output-file requirements.lock

# podman and buildah keep the health check in Docker's format alone; docker does not read the variable.
image:
	@test -n "$(ENGINE)" || { echo "make image needs docker, podman or buildah; none is installed." >&2; exit 1; }
	BUILDAH_FORMAT=docker $(ENGINE) build --tag $(IMAGE) .

image-base:
	.ci/base-image $(ENGINE)

clean:
	rm -rf $(VENV) web/node_modules demo-output pacs-demo-output build dist *.egg-info .mypy_cache .ruff_cache .hypothesis

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is required: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# Stamp files: each marks a completely installed environment.
$(VENV)/runtime: requirements.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/pacs: requirements.txt setup.cfg | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt --editable ".[store,dimse]"
	@touch $@

$(VENV)/test $(VENV)/dev: $(VENV)/%: requirements.txt setup.cfg | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt --editable ".[$*]"
	@touch $@
