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

.venv/installed: pyproject.toml
	@command -v uv >/dev/null 2>&1 || test -x .uv/bin/uv || \
	  (python3 -m venv .uv && .uv/bin/pip install --quiet uv)
	$(UV) sync --quiet --extra cpu
	@touch $@
