# `make demo` shows what Stethoscope does, `make test` checks all of it. Both need Python 3.11 or newer, nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

# The networks here are small: one thread each is fastest, and leaves two cores for two tests at a time.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint types pytest bench zoo doors docs format clean

demo: $(READY)
	@echo "== A digit classifier, trained with a fault that people really make"
	@$(BIN)/stethoscope run examples/digits_classifier.py || true
	@echo
	@echo "== A tumour classifier, trained with another"
	@$(BIN)/stethoscope run examples/breast_cancer.py || true

test: lint types pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Many processes start in the tests, and shells may forbid Python to keep what it compiles: a third of a second each.
pytest: $(READY)
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python bench/overhead.py

# Their tests are skipped without the packages.
doors: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[doors]'
	$(BIN)/python -m pytest -q -n 2 tests/doors tests/harmless

zoo: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[zoo]'
	$(BIN)/python zoo/run.py

docs: $(READY)
	$(BIN)/python -m stethoscope.render.rule_page docs/rules

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
