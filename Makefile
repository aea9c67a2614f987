# Every target says what it is doing; `make` alone lists them. Running one again is fast.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help setup host test-host demo test check unit e2e chaos bench wheel clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1	/' | expand -t 16

setup: $(INSTALLED) ## the virtual environment with Gitstead in it

$(BIN)/pip:
	@echo "==> creating the virtual environment $(VENV)"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "==> installing python3 and python3-venv with apt"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null; \
	  else \
	    echo "make: python3 cannot make virtual environments here; expected the module ensurepip." >&2; \
	    echo "      Install it (on Debian: apt-get install python3-venv), then run make again." >&2; \
	    exit 1; \
	  fi; }
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/pip
	@echo "==> installing Gitstead and its tools into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

host: $(INSTALLED) ## Docker, buildx and the base images on this machine
	@echo "==> checking this machine (gitstead doctor --fix)"
	@$(BIN)/gitstead doctor --fix
	@echo "==> base images for static sites and Python apps"
	@$(BIN)/gitstead base-image static
	@$(BIN)/gitstead base-image python

test-host: host
	@echo "==> checking what only the tests need"
	@$(BIN)/python tests/setup_host.py

demo: host ## three example apps behind Caddy, and the status page
	@echo "==> starting the demo (gitstead demo)"
	@$(BIN)/gitstead demo $(DEMO_ARGS)

test: test-host ## every test, with coverage
	@echo "==> running every test"
	@rm -f .coverage .coverage.*
	@$(PYTEST) -n auto --cov --cov-report=term:skip-covered

check: $(INSTALLED) ## lint, format, types, import rules, unit and property tests
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> mypy"
	@$(BIN)/mypy
	@echo "==> unit and property tests"
	@$(PYTEST) -q -n auto tests/unit tests/property

e2e: test-host ## only the end-to-end tests
	@echo "==> end-to-end tests"
	@$(PYTEST) -n auto tests/e2e

chaos: test-host ## every kill at every place (make test runs a share of them)
	@echo "==> chaos tests: all of them"
	@GITSTEAD_CHAOS=$${GITSTEAD_CHAOS:-full} $(PYTEST) -n auto tests/chaos

bench: test-host ## medians and ratios beside their baselines
	@echo "==> benchmarks"
	@$(BIN)/python -m bench

wheel: $(INSTALLED) ## build the wheel and run the program from it in a clean environment
	@echo "==> building the wheel"
	@rm -rf dist/wheel && mkdir -p dist/wheel
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist/wheel .
	@echo "==> installing it into a clean environment"
	@$(PYTHON) -m venv dist/wheel/venv
	@dist/wheel/venv/bin/pip install --quiet dist/wheel/*.whl
	@echo "==> running it from there"
	@cd dist/wheel && venv/bin/gitstead --version
	@cd dist/wheel && venv/bin/gitstead validate "$$(venv/bin/python -c \
	  'from reconciler.resources import resource; print(resource("examples", "platform-repo"))')"

clean: ## remove what make made here; a demo and its containers stay (gitstead demo --reset)
	@echo "==> removing $(VENV), build results and caches"
	@rm -rf $(VENV) dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
