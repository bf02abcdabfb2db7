# make demo: set up, train a small policy, control a sim over ROS topics
# make test: set up, lint, type-check and test
# make docs: the documentation site, in docs/_build/html
# make lava: set up the environment of the neuromorphic backend, .venv-lava
# The first two need Python 3.11 and make; where a ROS 2 installation is sourced its Python and rclpy
# serve. Lava needs Python 3.10; where there is none, make test goes without, and reports it.

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

# On the path, or one that pyenv keeps.
PYTHON310 ?= $(shell python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null \
  || pyenv whence --path python3.10 2>/dev/null | tail -n 1)
ifneq ($(PYTHON310),)
  LAVA = .venv-lava/installed
endif

.PHONY: demo test docs lava lint format clean

demo: .venv/installed
	$(BIN)/proxy-snn demo --out demo

# Three at once on two cores: tests of nodes wait more than they compute. lint has run test_lint.py.
test: lint $(LAVA)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore test/test_lint.py

lava: $(LAVA)
ifndef LAVA
	@echo "make lava: there is no python3.10, which Lava needs; install Python 3.10 or run" \
	  "make lava PYTHON310=/path/of/python3.10" >&2; exit 1
endif

# Warnings are errors; the network is not used.
docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(CONSTRAINTS) --editable '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

lint: .venv/installed
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q test/test_lint.py

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

# Beside a sourced ROS 2 too it takes the wheels of rclpy: that one's Python is another.
.venv-lava/installed: setup.py constraints-lava.txt Makefile
	$(PYTHON310) -m venv .venv-lava
	env -u ROS_DISTRO -u PYTHONPATH .venv-lava/bin/python -m pip install --quiet \
	  --disable-pip-version-check --constraint constraints-lava.txt --editable '.[ros,lava]'
	touch $@

clean:
	rm -rf .venv .venv-lava build dist *.egg-info
