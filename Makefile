# minirund. Two commands are enough: `make run` and `make test`. `make help` names the rest.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
VENV := .venv
VM := PYTHONPATH=vagrant $(PYTHON) -m qemu
PIP := $(VENV)/bin/pip --disable-pip-version-check --quiet --quiet
export PYTHON PREFIX DESTDIR LIBDIR UNITDIR

.DEFAULT_GOAL := help
.PHONY: help setup run stop test lint bench soak vm-test vm-soak vm-shell install uninstall clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: packages-run $(VENV)/.installed ## install what minirund needs (apt, pip); then .venv/bin/minirund is there

run: setup ## start minirund if none runs, and a shell in a container
	@scripts/run

stop: ## end the minirund that `make run` started; containers run on
	@scripts/stop

test: packages-test $(VENV)/.installed-dev ## everything that this machine can test
	@scripts/test

lint: $(VENV)/.installed-dev ## the checks that need no root: ruff, mypy, shellcheck
	@scripts/test lint

bench: packages-bench $(VENV)/.installed-dev ## minirund beside docker, podman, runc and crun
	@$(VENV)/bin/python bench/run.py

soak: packages-test $(VENV)/.installed-dev ## 500 runs, 100 at once, 200 times kill -9, and what is left then (10 minutes)
	@$(VENV)/bin/python tests/soak.py serial
	@$(VENV)/bin/python tests/soak.py burst
	@$(VENV)/bin/python tests/soak.py races --rounds 100
	@$(VENV)/bin/python tests/soak.py kill9

vm-test: $(VENV)/.installed ## the tests of limits and systemd in a Linux machine under QEMU (10 minutes); TESTS=FILE for one file
	@scripts/install-packages vm
	@$(VM) test $(TESTS)

vm-soak: $(VENV)/.installed ## twenty power cuts of that machine (16 minutes); CUTS=NUMBER for another number
	@scripts/install-packages vm
	@$(VM) soak $(CUTS)

vm-shell: $(VENV)/.installed ## a shell in such a machine, with minirund
	@scripts/install-packages vm
	@$(VM) shell

install: packages-run ## to PREFIX=/usr/local, with systemd units; DESTDIR is honoured
	@scripts/install

uninstall: ## take `make install` back; images and containers stay
	@scripts/uninstall

clean: ## remove what make made here, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: packages-run packages-test packages-bench
packages-run:
	@scripts/install-packages run
packages-test:
	@scripts/install-packages run test
packages-bench:
	@scripts/install-packages run bench

# The virtual environment is made again for another Python, filled again when pyproject.toml changes.
$(VENV)/pyvenv.cfg: | packages-run
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing Python packages into $(VENV)"
	@$(PIP) install --editable . --config-settings editable_mode=compat
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing Python packages into $(VENV), those for tests too"
	@$(PIP) install --editable '.[dev]' --config-settings editable_mode=compat
	@touch $@ $(VENV)/.installed
