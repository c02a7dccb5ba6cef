# Two commands matter: `make assess` runs the shipped examples, `make test` runs the tests. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUDGET ?= standard
WORKERS ?= 2
EXAMPLES := examples/attachments/system.yaml examples/cheques/server.yaml examples/cheques/scores.yaml \
	examples/cheques/device.yaml examples/comments/system.yaml examples/loans/system.yaml examples/loans/simple.yaml \
	examples/members/system.yaml examples/members/private.yaml

export OMP_NUM_THREADS := 1

.PHONY: setup assess test lint types rooms bench clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Exit code 1 says that something was found, which is what the examples are for.
assess: setup
	$(BIN)/casemate assess $(EXAMPLES) --budget $(BUDGET) --workers $(WORKERS); test $$? -le 1

# One file is one worker's, whole: what a file prepares for its tests is prepared once.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[peers]'
	# Without their dependencies: those ask for torchvision and visdom, which the attacks compared here do not use.
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps torchattacks adv-lib pyautoattack
	$(BIN)/python benchmarks/evasion_speed.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/families.py
	$(BIN)/python benchmarks/guard_overhead.py
	$(BIN)/python benchmarks/derive_speed.py

clean:
	rm -rf $(VENV) .casemate assessment examples/*/.cache
