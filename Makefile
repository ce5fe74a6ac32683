# All commands of the project; `make` without a target lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed
JOBS ?= 1
SECONDS ?= 1800
OUT ?= runs/study-phantom
OLDEST := .venv-oldest
WHEEL_VENV ?= .venv-wheel
DEFAULT_TESTS := pytest -n auto -m 'not slow and not gpu'
RUN := runs/quickstart
QUICKSTART := --config experiments/e3net.yaml --config experiments/e3net_small.yaml --config experiments/quickstart.yaml
# a real apical-four-chamber video without a label: a DICOM file of the pydicom package
CINE = "$$($(BIN)/python -c "from pydicom import examples; print(examples.get_path('ybr_color'))")"
# decoded frames of the phantom, so that only the first epoch decodes videos
CACHED := --data.cache.folder data/phantom-cache
# Libraries are compiled to bytecode when they are first imported, which is less than half of what pip would compile.
PIP := $(BIN)/python -m pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install quickstart study weights test test-all test-oldest test-gpu lint types smoke bench ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=$(PYTHON): interpreter; VENV=$(VENV): environment; JOBS=$(JOBS): parallel trials of a study"
	@echo "  SECONDS=$(SECONDS): time limit of bench, seconds per device"

install: $(DEVELOPED) ## create the environment: the package (editable) and all tools, pinned by constraints.txt

# Install torch first, so that all other packages use the build chosen here (CPU or CUDA, depending on the index).
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv "$(VENV)"
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e '.[dicom]'
	@touch $@

$(DEVELOPED): $(INSTALLED)
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(INSTALLED) ## predict a real video, generate a phantom, train, test, predict, report (minutes on a CPU)
	# predict EF of a real video with the shipped network, which was trained on synthetic videos only
	$(BIN)/echo-e3net predict $(CINE) --out runs/shipped
	# 300 synthetic videos with known EF and borders; existing videos are kept
	$(BIN)/echo-e3net data phantom --out data/phantom --n 300 --seed 0 --max_frames 50
	# rename an earlier run
	if [ -e $(RUN) ]; then mv $(RUN) "$(RUN).$$(date +%Y%m%d-%H%M%S)"; fi
	# train the small configuration
	$(BIN)/echo-e3net fit $(QUICKSTART) $(CACHED)
	# MAE, RMSE and R² of the test split, compared with predicting the training mean
	$(BIN)/echo-e3net test $(QUICKSTART) $(CACHED)
	# predict EF of the real video with the network that was just trained
	$(BIN)/echo-e3net predict $(QUICKSTART) --videos $(CINE)
	# all results as table and figures
	$(BIN)/echo-e3net report $(RUN)

study: $(INSTALLED) ## run or continue the ablation study on the phantom (many hours; results in runs/study-phantom)
	$(BIN)/echo-e3net data phantom --out data/study/adult_cart --n 900 --seed 1
	# the handheld look, only for testing
	$(BIN)/echo-e3net data phantom --out data/study/handheld --look handheld --n 180 --seed 2 --max_frames 100 --val_fraction 0.05 --test_fraction 0.9
	$(BIN)/echo-e3net study experiments/studies/phantom.yaml --jobs $(JOBS) --out $(OUT)

weights: $(INSTALLED) ## make the shipped network from its seeds, with tests and card (hours; STEPS="test export calibrate pin")
	$(BIN)/python scripts/make_weights.py $(STEPS)

test: $(DEVELOPED) ## run the default tests (no network, no GPU, shapes checked): about two minutes on two cores
	$(BIN)/python -m $(DEFAULT_TESTS)

test-all: $(DEVELOPED) ## run the default and the slow tests
	$(BIN)/python -m pytest -n auto -m 'not gpu'

# torch keeps its pinned version, because old CPU builds are not available everywhere.
test-oldest: $(DEVELOPED) ## run the default tests with the oldest allowed version of every dependency except torch
	mkdir -p build
	grep '^torch==' constraints.txt > build/torch.txt
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --override build/torch.txt --python $(BIN)/python \
		--extra dev --output-file build/resolved.txt pyproject.toml
	# a CPU build of torch needs no CUDA packages
	grep -vE '^(nvidia|cuda|triton)' build/resolved.txt > build/oldest.txt
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet -r build/torch.txt
	$(OLDEST)/bin/python -m pip install --quiet -c build/oldest.txt -e '.[dev]'
	$(OLDEST)/bin/python -m $(DEFAULT_TESTS)

test-gpu: $(DEVELOPED) ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lint: $(DEVELOPED) ## check style, format, CITATION.cff, and that git has no data or large file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cffconvert --validate
	$(BIN)/python scripts/guard_files.py

types: $(DEVELOPED) ## check types with mypy, strict on src
	$(BIN)/mypy

# The environment does not contain the repository, so files missing from the wheel cause an error.
smoke: ## build the wheel, install it into a new environment, and run the main commands in an empty folder
	rm -rf dist
	$(PYTHON) -m venv --clear "$(WHEEL_VENV)"
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(WHEEL_VENV)/bin/python -m pip install --quiet --no-compile "$$(grep '^torch==' constraints.txt)"
	$(WHEEL_VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt --find-links dist 'echo-e3net[dicom]'
	scripts/smoke.sh "$(WHEEL_VENV)/bin"

bench: $(INSTALLED) ## measure the networks, decoding and the cache on this machine; rewrite docs/BENCHMARKS.md
	$(BIN)/echo-e3net bench --seconds $(SECONDS) --json benchmarks/cpu.json
	if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		$(BIN)/echo-e3net bench --device cuda --seconds $(SECONDS) --json benchmarks/cuda.json; fi
	$(BIN)/python experiments/bench_data.py --json benchmarks/data.json
	# the tables of the documentation
	$(BIN)/python -m echo_e3net.benchmark.document docs/BENCHMARKS.md benchmarks

# Run one after another even with `make -j`. With the variable CI, which .ci/run sets, the wheel is tested in the new
# environment into which the development tools are then installed, so torch is installed once. The tests are last, so
# that the output ends with their result.
ci: ## run what CI runs: the wheel, lint, types, all tests without a GPU
	@$(MAKE) --no-print-directory smoke WHEEL_VENV="$(if $(CI),$(VENV),$(WHEEL_VENV))"
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory test-all

clean: ## remove caches and builds; data/, runs/ and the environment stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find src tests scripts experiments -name __pycache__ -type d -prune -exec rm -rf {} +
