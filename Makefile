# make demo and make test need nothing but Python 3.11 or newer; they build .venv once and again when requirements change.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# Each file goes to one process, so that its servers are started once.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help demo test-fast test test-all bench bench-peers lint types lock clean

help:
	@echo "make demo      serve the models that come along, send them a study, picture the answers in demo-output/"
	@echo "make test-fast the tests that start no server, in about a minute"
	@echo "make test      the tests"
	@echo "make test-all  the slow ones too; what they need and do not find fails instead of being skipped"
	@echo "make bench     what the gateway costs beside a plain one, in ratios"
	@echo "make bench-peers  the same for FastAPI, LitServe and BentoML, each in an environment of its own"
	@echo "make lint      ruff"
	@echo "make types     mypy --strict"
	@echo "make lock      resolve what the container installs, with hashes, into requirements.lock"
	@echo "make clean     remove all that make made"

demo: $(VENV)/runtime
	$(RUN) demo.py demo-output

test-fast: $(VENV)/test
	HYPOTHESIS_PROFILE=fast $(RUN) -m pytest -q $(PARALLEL) -m "not slow and not server and not heavy"

test: $(VENV)/test
	$(RUN) -m pytest -q $(PARALLEL) -m "not slow"

test-all: $(VENV)/test
	GATEWAY_TEST_REQUIRE=all $(RUN) -m pytest -q $(PARALLEL)

bench: $(VENV)/test
	$(RUN) -m benchmarks

bench-peers: $(VENV)/test
	$(RUN) -m benchmarks --peers

lint: $(VENV)/dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/dev
	$(RUN) -m mypy gateway utils models tests benchmarks demo.py

# For the image's Python and system; requirements.txt has the direct pins.
lock: $(VENV)/dev
	$(RUN) -m uv pip compile --quiet setup.cfg --extra gdcm --extra store --extra models --extra compat \
		--constraint requirements.txt --python-version 3.11 --python-platform linux \
		--generate-hashes --no-annotate --no-header --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info .mypy_cache .ruff_cache .hypothesis

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# Stamps: each stands for an environment that was installed whole.
$(VENV)/runtime: requirements.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/test $(VENV)/dev: $(VENV)/%: requirements.txt setup.cfg | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt --editable ".[$*]"
	@touch $@
