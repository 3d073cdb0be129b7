# Python packages go into .venv, build tools into .tools. As root, missing Debian packages are installed: what Python's
# venv needs and, for `make test` and `make bench`, a browser and a load generator.

PYTHON ?= python3
SERVE_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

RUN := .venv/bin/python -m
# A test that takes longer is ended with a trace of its threads, and fails.
NO_TEST_HANGS := -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true
export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve test robustness lint contract generate constraints bench databases clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

serve: .venv/.server ## Serve examples/docs-qa over gRPC, REST and SSE. SERVE_ARGS adds flags.
	@.venv/bin/penstock serve examples/docs-qa $(SERVE_ARGS)

test: lint contract databases .tools/client-oldest/.installed .tools/client-newest/.installed ## Run every check and every test. PYTEST_ARGS adds flags.
	@tools/install-package curl curl "the tests of the commands in the READMEs"
	@tools/install-package git git "the tests of the contract's checks"
	@tools/install-package chromium chromium "the tests in a browser"
	@tools/install-package faketime faketime "the tests with clocks that jump"
	@tools/install-grpcurl
	$(RUN) pytest --numprocesses auto $(NO_TEST_HANGS) $(PYTEST_ARGS)

robustness: .venv/.dev databases ## Hurt services and their databases, for an hour or more. ROBUSTNESS_SEED=N replays a run.
	@tools/install-package faketime faketime "clocks that jump"
	ROBUSTNESS=long $(RUN) pytest --numprocesses auto -o faulthandler_timeout=14400 tests/robustness $(PYTEST_ARGS)

lint: .venv/.dev ## Check style and types.
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) mypy --explicit-package-bases --no-warn-return-any tools benchmarks tests/project tests/contract tests/cli tests/robustness
	$(RUN) mypy $(wildcard examples/*/*.py)

contract: .venv/.dev .tools/googleapis .tools/generate/.installed ## Check the contract, and that what is generated from it is up to date.
	.venv/bin/buf lint
	tools/check-breaking
	tools/check-generated

generate: .venv/.dev .tools/generate/.installed ## Write everything anew that is generated from the contract and the settings.
	tools/generate .

constraints: ## Take the newest versions of all that is installed into constraints*.txt.
	tools/update-constraints

bench: .venv/.bench .tools/promptflow/.installed databases ## Measure beside bare gRPC, bare aiohttp, Envoy and prompt flow. BENCH_ARGS adds flags.
	@tools/install-package h2load nghttp2-client "the load runs"
	$(RUN) benchmarks $(BENCH_ARGS)

databases:
	@tools/install-package mariadb-install-db mariadb-server "what is tried on MariaDB"
	@tools/install-package pg_ctlcluster postgresql "what is tried on PostgreSQL"

clean: ## Remove what the other commands made.
	rm -rf .venv .tools .penstock build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@tools/make-venv .venv

.venv/.server .venv/.dev .venv/.bench: .venv/.%: .venv/bin/python pyproject.toml constraints.txt
	@tools/install-penstock $*
	@touch $@

.tools/generate/.installed: constraints-generate.txt
	@tools/make-venv .tools/generate
	@.tools/generate/bin/python -m pip install --quiet --requirement $<
	@touch $@

# prompt flow wants other versions of much that we use, so it has an environment of its own.
.tools/promptflow/.installed: constraints-promptflow.txt
	@tools/make-venv .tools/promptflow
	@echo "Installing prompt flow into .tools/promptflow"
	@.tools/promptflow/bin/python -m pip install --quiet --requirement $<
	@touch $@

# The plain client, with the oldest packages that it allows and with the newest that we know.
.tools/client-oldest/.installed: constraints-oldest.txt
.tools/client-newest/.installed: constraints.txt
.tools/client-%/.installed: pyproject.toml
	@tools/make-venv .tools/client-$*
	@.tools/client-$*/bin/python -m pip install --quiet --constraint $(filter constraints%,$^) --editable .
	@touch $@

.tools/googleapis: .venv/.dev
	@tools/copy-googleapis $@
