# `make demo` and `make test` install what they need: Python 3.11 or 3.12, git and make are enough.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export VLLM_NO_USAGE_STATS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test check install constraints
.DEFAULT_GOAL := demo

demo: install
	$(RUN)/alia-ray demo

test: install
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || $(call apt,chromium)
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/pytest --durations=15

# Measures the small models that ship with the package; docs/miniature.md holds the figures.
check: install
	$(RUN)/alia-ray miniature check

install: .venv/installed

# What a bare Debian or Ubuntu lacks: root installs it, anyone else is told what to ask for.
apt = { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq --yes $(1) >/dev/null; } || \
  { echo "error: $(1) is missing; sudo apt install $(1), then make again"; exit 2; }

PIP = VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip --quiet
.venv/installed: pyproject.toml constraints/cpu.txt | $(filter .uv/bin/uv,$(UV))
	@python3 -c "import ctypes; ctypes.CDLL('libnuma.so.1')" 2>/dev/null || $(call apt,libnuma1)  # of vLLM on a CPU
	$(UV) venv --quiet --allow-existing .venv
	$(PIP) sync --compile-bytecode constraints/cpu.txt  # once here, or in every process where none may be written
	$(PIP) install --no-deps --editable .
	@touch $@

# Pins the newest versions that pyproject.toml allows, of all that is installed; run the tests on them.
EXPORT := --quiet --no-hashes --no-emit-project --no-annotate --no-header --all-groups
constraints: | $(filter .uv/bin/uv,$(UV))
	$(UV) lock --quiet --upgrade
	$(UV) export $(EXPORT) --extra cpu > constraints/cpu.txt
	$(UV) export $(EXPORT) --extra gpu > constraints/gpu.txt

.uv/bin/uv:
	@python3 -c "import ensurepip" 2>/dev/null || $(call apt,python3-venv)
	python3 -m venv .uv && .uv/bin/pip install --quiet uv
