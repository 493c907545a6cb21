# The daily commands; CI runs the same ones. `make demo` and `make test` do all the set-up themselves.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --quiet --editable
PARAMETERS := data_gen/demo/parameters.toml
SMALL := -m "not big"
# Test files on two processes; the largest tests start some of their own.
TWO := -n 2 --dist loadfile
BENCHES := $(wildcard bench/bench_*.py)
BENCH := PYTHONPATH=bench $(BIN)/pytest -p recording --override-ini=addopts=--import-mode=importlib \
	--benchmark-only --benchmark-columns=min,median,max,rounds -W default

export PIP_ROOT_USER_ACTION := ignore

.PHONY: help demo test test-nojit test-bounds wheel-check check format bench bench-quick bench-large clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo "make demo         invent a city's ledger, re-account it, say where the files are"
	@echo "make test         run all tests"
	@echo "make test-nojit   run them as plain Python, overflow is an error (big ones left out)"
	@echo "make test-bounds  run them with array bounds checked (big ones left out)"
	@echo "make wheel-check  build the wheel, run the tests against it elsewhere"
	@echo "make check        lint, formatting, types"
	@echo "make format       format the code"
	@echo "make bench        measure the speed against others, write tables and charts to bench/README.md"
	@echo "make bench-quick  the same with few rows, print the tables"
	@echo "make bench-large  what a row costs in up to 100 million rows"
	@echo "make clean        remove all that these commands made, $(VENV) too"

# A stamp file says what is installed; a changed pyproject.toml installs again.
$(VENV)/.made:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "expected Python 3.11 or newer, got '$(PYTHON)': make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.cli: EXTRAS := cli
$(VENV)/.test: EXTRAS := cli,test,bench
$(VENV)/.lint: EXTRAS := cli,test,bench,lint
$(VENV)/.bench: EXTRAS := cli,test,bench
$(VENV)/.cli $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: pyproject.toml | $(VENV)/.made
	@echo "installing yibao[$(EXTRAS)] into $(VENV)"
	@$(INSTALL) '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.cli
	@mkdir -p demo
	@echo "inventing a city of 300,000 people to the end of August 2019, as each day knew the rules"
	@$(BIN)/yibao-datagen city --people 300000 --seed 1 --months 8 --paid-under shandong-2017 --paid-under weihai-2019 \
		--parameters $(PARAMETERS) --out demo/ledger.parquet --roster-out demo/roster.parquet
	@echo "re-accounting demo/ledger.parquet under weihai-2019"
	@$(BIN)/yibao reaccount demo/ledger.parquet --policy weihai-2019 --parameters $(PARAMETERS) \
		--recorded-after-change implied_rate --roster demo/roster.parquet --out demo/out

test: $(VENV)/.test
	@$(BIN)/pytest $(TWO)

test-nojit: $(VENV)/.test
	@NUMBA_DISABLE_JIT=1 $(BIN)/pytest $(TWO) -W error $(SMALL)

test-bounds: $(VENV)/.test
	@NUMBA_BOUNDSCHECK=1 $(BIN)/pytest $(TWO) $(SMALL)

# The tests leave the tree, so that they can only find what the wheel brought.
wheel-check: $(VENV)/.made
	@set -eu; away=$$(mktemp -d); trap 'rm -rf "$$away"' EXIT; \
	echo "building the wheel"; $(PIP) wheel --quiet --quiet --no-deps --wheel-dir "$$away" .; \
	wheel=$$(echo "$$away"/yibao-*.whl); $(BIN)/python -m zipfile --list "$$wheel"; \
	echo "installing it into $$away/venv"; "$(PYTHON)" -m venv "$$away/venv"; \
	"$$away/venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --quiet "$$wheel[cli,test]"; \
	cp -R tests bench pyproject.toml README.md "$$away"; \
	real=$${YIBAO_REAL_DATA:-$(abspath ../shared/data)}; cd "$$away"; \
	YIBAO_WHEEL="$$wheel" YIBAO_REAL_DATA="$$real" venv/bin/pytest $(TWO) $(SMALL)

check: $(VENV)/.lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.lint
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Results stand in bench/results, tables and charts in bench/README.md; bench-quick only prints its own.
bench: $(VENV)/.bench
	@YIBAO_BENCH_COMMAND=$@ $(BENCH) $(BENCHES) --benchmark-json=bench/results/$@.json
	@$(BIN)/python bench/report.py bench/results/$@.json

bench-quick: $(VENV)/.bench
	@YIBAO_BENCH_COMMAND=$@ YIBAO_BENCH_ROWS=200000 YIBAO_BENCH_ROUNDS=3 YIBAO_BENCH_SIZES="50000 200000" \
		$(BENCH) $(filter-out %startup.py,$(BENCHES)) --benchmark-json=bench/results/$@.json
	@$(BIN)/python bench/report.py bench/results/$@.json

bench-large: $(VENV)/.bench
	@YIBAO_BENCH_COMMAND=$@ YIBAO_BENCH_SIZES="1000000 3000000 10000000 30000000" \
		YIBAO_BENCH_FILE_SIZES="1000000 3000000 10000000 30000000 100000000" \
		$(BENCH) bench/bench_slope.py bench/bench_bulk.py --benchmark-json=bench/results/$@.json
	@$(BIN)/python bench/report.py bench/results/$@.json

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage
	find core bindings data_gen bench tests -name __pycache__ -type d -prune -exec rm -rf {} +
