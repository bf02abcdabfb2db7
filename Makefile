# make demo: set up, train a small policy, control a sim over ROS topics
# make test: set up, lint, type-check and test
# Both need Python 3.11 and make; where a ROS 2 installation is sourced its Python and rclpy serve.

ifdef ROS_DISTRO
  PYTHON ?= python3
  # ROS brings its own Python and messages built against the system's NumPy: stay with those, and
  # fix the versions only of what must agree everywhere.
  VENV_OPTIONS = --system-site-packages
  CONSTRAINTS = .venv/constraints.txt
  KEEP = ^(torch|gymnasium|mujoco|safetensors|ruff|mypy)==
else
  PYTHON ?= python3.11
  CONSTRAINTS = constraints.txt
endif
BIN = .venv/bin

.PHONY: demo test lint format clean

demo: .venv/installed
	$(BIN)/proxy-snn demo --out demo

test: lint
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: .venv/installed
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

.venv/installed: setup.py constraints.txt Makefile
	$(PYTHON) -m venv $(VENV_OPTIONS) .venv
ifdef ROS_DISTRO
	grep -E '$(KEEP)' constraints.txt > $(CONSTRAINTS)
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(CONSTRAINTS) --editable '.[ros,train,test]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
