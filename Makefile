# `make demo` and `make test` install what they need: Python 3.11 or 3.12, git and make are enough.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := .venv/bin
export RAY_AUTH_MODE ?= disabled
export HF_HUB_OFFLINE ?= 1
export VLLM_NO_USAGE_STATS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test check install
.DEFAULT_GOAL := demo

demo: install
	$(RUN)/alia-ray demo

test: install
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/pytest

# Measures the small models that ship with the package; docs/miniature.md holds the figures.
check: install
	$(RUN)/alia-ray miniature check

install: .venv/installed

.venv/installed: pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(UV) sync --quiet --extra cpu
	@touch $@

# Debian's Python comes without venv: root can fetch it, anyone else must ask for it.
.uv/bin/uv:
	@python3 -m ensurepip --version >/dev/null 2>&1 || \
	  { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq --yes python3-venv; } || \
	  { echo "error: Python's venv module is missing: sudo apt install python3-venv, then make again"; exit 2; }
	python3 -m venv .uv && .uv/bin/pip install --quiet uv
