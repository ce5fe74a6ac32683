# Every command of the project in one place; `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JOBS ?= 1
OUT ?= runs/study-phantom
RUN := runs/quickstart
QUICKSTART := --config experiments/e3net.yaml --config experiments/quickstart.yaml

.DEFAULT_GOAL := help
.PHONY: help install quickstart study test test-all test-gpu lint types smoke bench ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=$(PYTHON) makes the environment, VENV=$(VENV) holds it, JOBS=$(JOBS) trials of a study run at a time"

install: $(INSTALLED) ## make the environment: the package, editable, with all tools, pinned by constraints.txt

# torch first and alone: everything else then settles on the build chosen here (CPU or CUDA, as the package index offers).
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv "$(VENV)"
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(INSTALLED) ## from nothing to a report: phantom data, train, test, predict on a real cine (CPU)
	# 300 synthetic videos with known EF and borders; a second call keeps what is there
	$(BIN)/echo-e3net data phantom --out data/phantom --n 300 --seed 0 --max_frames 100
	# an earlier quickstart is moved aside, never overwritten
	if [ -e $(RUN) ]; then mv $(RUN) "$(RUN).$$(date +%Y%m%d-%H%M%S)"; fi
	# train the small configuration
	$(BIN)/echo-e3net fit $(QUICKSTART)
	# MAE, RMSE and R² over the test split, next to predicting the training mean
	$(BIN)/echo-e3net test $(QUICKSTART)
	# read the EF of a real, unlabelled apical-four-chamber cine: a DICOM file as it comes, out of the installed pydicom package
	$(BIN)/echo-e3net predict $(QUICKSTART) --videos "$$($(BIN)/python -c "from pydicom import examples; print(examples.get_path('ybr_color'))")"
	# everything in one table and one picture
	$(BIN)/echo-e3net report $(RUN)

study: $(INSTALLED) ## the ablation study on the phantom; goes on where it stopped (many hours on a CPU, results in runs/study-phantom)
	$(BIN)/echo-e3net data phantom --out data/study/adult_cart --n 900 --seed 1
	# another scanner, for testing alone
	$(BIN)/echo-e3net data phantom --out data/study/handheld --look handheld --n 180 --seed 2 --max_frames 100 --val_fraction 0.05 --test_fraction 0.9
	# OUT=docs/study goes on from the results that are committed there
	$(BIN)/echo-e3net study experiments/studies/phantom.yaml --jobs $(JOBS) --out $(OUT)

test: $(INSTALLED) ## the default tests: minutes, no network, no GPU; shapes are checked while they run
	$(BIN)/python -m pytest -m 'not slow and not gpu'

test-all: $(INSTALLED) ## the default tests and the slow ones
	$(BIN)/python -m pytest -m 'not gpu'

test-gpu: $(INSTALLED) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lint: $(INSTALLED) ## style, format, CITATION.cff, and no data or large file in git
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cffconvert --validate
	$(BIN)/python scripts/guard_files.py

types: $(INSTALLED) ## mypy, strict on src
	$(BIN)/mypy

smoke: $(INSTALLED) ## fit and test for seconds through the real command line, in a temporary folder
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && set -ex && \
	config="$(QUICKSTART) --data.root $$tmp/phantom --name ci-smoke --runs $$tmp/runs" && \
	$(BIN)/echo-e3net data phantom --out "$$tmp/phantom" --n 12 --seed 0 && \
	$(BIN)/echo-e3net fit $$config --trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 2 && \
	$(BIN)/echo-e3net test $$config

bench: $(INSTALLED) ## how fast clips come, decoded and cached, on this machine
	$(BIN)/python experiments/bench_data.py

# One after another, also under -j, and the tests last: their closing line is the verdict.
ci: ## what continuous integration runs: lint, types, smoke, all tests but the GPU's
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory smoke
	@$(MAKE) --no-print-directory test-all

clean: ## remove what tools left; data/, runs/ and the environment stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find src tests scripts experiments -name __pycache__ -type d -prune -exec rm -rf {} +
