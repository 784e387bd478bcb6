# A fresh checkout needs git, make and Python 3.11: everything else is installed here, Debian packages after asking
# (YES=1, or no terminal: straight away), so that no service starts.
#
#   make demo [BACKEND=nftables]    the worked example, live; or BACKEND=iptables, ovs
#   make test [ARGS="-k vip"]       the tests; long lists by a seeded sample
#   make test-long                  the tests, long lists whole
#   make lint types                 ruff; mypy and pyright
#   make bench                      vipnet beside others on this machine: build/bench/report.html, under ten minutes
#   make bench-peers                others that it is compared with if they are there: python-iptables, Neutron; a minute, once
#   make docs                       the documentation, into site/

BACKEND ?= nftables
ARGS ?=

PYTHON := $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
SETUP = $(or $(PYTHON),$(error vipnet needs Python 3.11 or later, and none was found: apt-get install python3)) scripts/setup.py
BIN = .venv/bin
# Two at a time: most of a packet test is waiting. A file's tests stay together, for they share what they build.
PYTEST = $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --require-backend simulator --require-backend nftables \
	--require-backend iptables --require-backend ovs

.PHONY: help demo test test-long lint types docs bench bench-peers packages test-packages venv clean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

demo: packages
	@$(SETUP) venv all
	@$(BIN)/vipnet demo --backend $(BACKEND)

test: test-packages venv
	$(PYTEST) -m "not long" $(ARGS)

test-long: test-packages venv
	$(PYTEST) $(ARGS)

lint: venv
	$(BIN)/ruff check .

types: venv
	$(BIN)/mypy
	$(BIN)/pyright

docs:
	@$(SETUP) venv docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

bench: packages
	@$(SETUP) venv bench
	@$(BIN)/python benchmarks/run.py $(ARGS)

bench-peers: packages
	@$(SETUP) venv bench
	@$(SETUP) peers

packages:
	@$(SETUP) packages

test-packages:
	@$(SETUP) packages test

venv:
	@$(SETUP) venv dev

clean:
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
