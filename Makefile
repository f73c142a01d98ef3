# The commands of this checkout. Each does its own set-up, as root also of what apt must bring; never through sudo.
#
# To be set by you: PYTHON=/path/to/python3.12   DEMO="--keep --vms 50"   TESTS=tests/unit   BENCH=append
#                   COVERAGE_FLOOR=percent       ES_POWER_NO_INSTALL=1    WORKERS=1
#                   PART="kills bits"            COUNT=500 or COUNT=0.1   SEED=number

COVERAGE_FLOOR ?= 0
WORKERS ?= $(shell expr $$(nproc) + 1)
TORTURES = $(if $(PART),$(PART:%=tests/torture/test_%.py),tests/torture)

.PHONY: help demo test torture test-nova test-api test-migration setup lint bench test-fresh lock web web-check screenshots

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: ## watch libvirt's events become a log, and what it is good for: a minute, a page, no hypervisor
	@scripts/setup/venv runtime
	@.venv/bin/es-power demo $(DEMO)

test: ## run every suite whose parts are here, or one: TESTS=tests/unit
	@scripts/setup/venv dev
	@scripts/setup/system want test
	@scripts/setup/web want
	@if [ -n "$(TESTS)" ]; then .venv/bin/pytest $(TESTS); else scripts/suites $(WORKERS) $(COVERAGE_FLOOR); fi; \
		status=$$?; scripts/setup/system lack test; exit $$status

torture: ## try every fault as often as promised, hours, or parts of it: PART=kills COUNT=500
	@scripts/setup/venv dev
	@scripts/setup/system want test
	@ES_POWER_TORTURE=$(or $(COUNT),full) ES_POWER_TORTURE_SEED=$(SEED) ES_POWER_TORTURE_RESULTS=docs/reliability.jsonl \
		.venv/bin/pytest --timeout 0 -m torture $(TORTURES); status=$$?; \
		.venv/bin/python scripts/reliability.py; scripts/setup/system lack test; exit $$status

test-nova: ## run the suite that needs a real Nova, a few minutes
	@scripts/setup/venv dev
	@scripts/setup/system want nova
	@scripts/setup/nova
	@.venv/bin/pytest tests/nova; status=$$?; scripts/setup/system lack nova; exit $$status

test-api: ## ask the HTTP API thousands of things, several minutes
	@ES_POWER_API_CASES=$(or $(CASES),120) $(MAKE) --no-print-directory test TESTS=tests/api/test_schema.py

test-migration: ## run the suite that migrates guests between two libvirtd, about a minute
	@$(MAKE) --no-print-directory test TESTS=tests/migration

setup: ## make .venv with everything in it
	@scripts/setup/venv dev

lint: setup ## style, types and the direction of imports
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup ## measure speed and memory
	@scripts/setup/web want
	@.venv/bin/python -m benchmarks $(BENCH)

test-fresh: ## demo and test from nothing, in a fresh Debian 12, as root and as a user
	@scripts/setup/system need fresh
	@scripts/setup/fresh

web: ## build the page into the package, from web/; needs node
	@scripts/web build

web-check: ## test the page, and that what is in the package is what web/ builds
	@scripts/web check

screenshots: setup ## take docs/images anew, of a demo that is played for it
	@scripts/setup/web need
	@.venv/bin/python scripts/screenshots.py

lock: ## write requirements/*.txt again
	@scripts/setup/lock
