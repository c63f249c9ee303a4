# Needs Python 3.11 or newer and make; everything else goes into .venv, which is brought up to date when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
JUDGES := .judges
LOWEST := .lowest

SEED ?= 0
UI ?=
PORT ?= 8090
JOBS ?= 2
DATA ?= digits
ARGS ?=
# Parts of the long runs: files tests/soak/soak_PART.py; none given means all.
SOAK ?=
BENCH ?=
SIZE ?=
# What `make check` runs: the walls, the documents, and unit tests that take seconds and start no process.
CLIENT := auth errors models odd_answers paging samples signing tasks transport waiting
LABELING := evidence ledger policy result storage team walk writer
QUICK = tests/test_walls.py tests/test_docs.py tests/hooks \
    $(CLIENT:%=tests/client/test_%.py) $(LABELING:%=tests/labeling/test_%.py)
SOAK_PARTS = $(if $(filter-out all,$(SOAK)),$(SOAK:%=tests/soak/soak_%.py),$(sort $(wildcard tests/soak/soak_*.py)))

.PHONY: help demo check test lowest soak bench judges lint emulator clean

help:
	@echo 'make demo           run the documented workflow against the emulator and print the outcome'
	@echo 'make demo SEED=7    the same with other images labeled'
	@echo 'make demo UI=1      leave a real Airflow running with the example DAGs and the emulator'
	@echo 'make check          ruff, mypy, the walls and the quick unit tests, in under a minute; before every commit'
	@echo 'make test           run the tests; ARGS="-k confirm" passes arguments to pytest, JOBS=4 processes'
	@echo 'make lowest         the same with the lowest releases that are allowed, Airflow 3.2.2 among them, in $(LOWEST)'
	@echo 'make soak           run the long tests: kills, users, triggerers ...; SOAK="kills users" runs parts of them'
	@echo 'make bench          print the benchmarks; BENCH=polls prints one'
	@echo 'make judges         have other programs read the exports; they get an environment of their own in $(JUDGES)'
	@echo 'make judges SIZE=100000  the same with so many samples'
	@echo 'make lint           ruff and mypy --strict'
	@echo 'make emulator       serve the emulator on PORT with DATA (digits, or a folder of images) and SEED'

demo: $(READY)
	@$(BIN)/python -m demo --seed '$(SEED)' $(if $(filter-out 0 no false,$(UI)),--ui)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# pip would try releases for an hour. The last two break Airflow 3.2.2, which does not exclude them.
lowest:
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	    --editable '.[dev]' 'fastapi<0.137' 'svcs<26'
	@$(LOWEST)/bin/python -m demo.metadata
	$(LOWEST)/bin/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint
	$(BIN)/python -m pytest --quiet --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(QUICK) $(ARGS)

# Logs of the last run stay in .demo/soak.
soak: $(READY)
	@mkdir -p .demo
	@$(BIN)/python -m pytest $(SOAK_PARTS) --verbose -p no:randomly --tb=short --basetemp=.demo/soak $(ARGS)

bench: $(BENCH_READY)
	@$(BIN)/python -m tests.benchmarks $(BENCH)

# What these need does not fit beside Airflow.
judges: $(READY)
	@test -x $(JUDGES)/bin/python || $(PYTHON) -m venv $(JUDGES)
	@$(JUDGES)/bin/python -m pip install -qq --disable-pip-version-check pycocotools label-studio-sdk
	@$(BIN)/python -m tests.judges $(JUDGES)/bin/python $(SIZE)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

emulator: $(READY)
	@$(BIN)/modelarts-emulator --port '$(PORT)' --data '$(DATA)' --seed '$(SEED)'

clean:
	rm -rf $(VENV) $(JUDGES) $(LOWEST) .demo

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is needed, as $(PYTHON) or named like this: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || \
	    { echo '$(PYTHON) -m venv does not work here (on Debian: apt install python3-venv)' >&2; exit 1; }
	@echo 'Setting up $(VENV) (a few minutes the first time) ...'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m demo.metadata
	@touch $@

# What the benchmarks compare with, and nothing else needs.
$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[bench]'
	@touch $@
