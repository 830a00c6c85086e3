# SPDX-License-Identifier: Apache-2.0
# Every target installs first what it needs (cmake/setup.sh says what and why).
#   make train [MODEL_DIR=...] [DEVICE=cuda] [ARGS=...]   train on Fashion-MNIST; again: resume
#   make test                               all C++ and Python tests
#   make test-interop                       tests beside PyTorch, JAX and TensorBoard, in .venv-bench
#   make test-distributed                   tests of several processes and of what connects them
#   make test-faults [OUT=record.json] [ARGS=...]   kills and fuzzing at full count; OUT gets the result
#   make test-sanitize                      tests under address, undefined and thread sanitizers
#   make test-sanitize-device               the CUDA backend under them, on a driver without a GPU
#   make gpu-check, gpu-bench               what runs on a GPU, checked and timed there
#   make gpu-sanitize                       a few kernels there under compute-sanitizer
#   make gpu-pack ARGS="--python python3.12"   one file with all of that for a machine without network
#   make bench-dist                         two ranks beside PyTorch's DistributedDataParallel
#   make bench, lint, format, docs, clean
MODEL_DIR ?= models/fashion_mnist
ARGS ?=
DEVICE ?=
OUT ?= build/test-faults.json
PY := .venv/bin/python
BASE ?= main
CXX_FILES = $(shell git ls-files -co --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh')

.PHONY: gpu-check gpu-sanitize gpu-pack gpu-bench setup train test test-distributed test-faults test-interop test-sanitize test-sanitize-device bench bench-dist lint lint-quick lint-tidy format docs clean

setup:
	@cmake/setup.sh

train: setup
	@$(PY) examples/fashion_mnist.py --model-dir $(MODEL_DIR) $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

# Tests run side by side, so idle OpenMP threads must not spin. build/current is setup's build folder.
test: setup
	cmake --build build/current
	OMP_WAIT_POLICY=passive ctest --test-dir build/current -j 2 --output-on-failure --no-tests=error
	@cmake/without_cuda.sh "kernels for sm_90, the CUDA backend on the fake driver, plans with cuDNN" || true
	$(PY) -m pytest -q

test-distributed:
	@cmake/setup.sh distributed
	cmake --build build/current --target dist_test dist_rank runtime_test
	OMP_WAIT_POLICY=passive build/current/tests/unit/dist_test --gtest_brief=1
	OMP_WAIT_POLICY=passive build/current/tests/unit/runtime_test --gtest_brief=1 --gtest_filter='*Replica*'
	OMP_WAIT_POLICY=passive $(PY) -m pytest -q tests/distributed tests/python/test_distribute*.py tests/python/test_simulate*.py

test-faults:
	@cmake/setup.sh distributed
	cmake --build build/current --target dist_test
	OMP_WAIT_POLICY=passive $(PY) tests/distributed/fault/full.py --build build/current --output $(OUT) $(ARGS)

test-interop:
	@cmake/setup.sh interop
	OMP_WAIT_POLICY=passive .venv-bench/bin/python -m pytest -q tests/interop

test-sanitize: setup
	@cmake/sanitize.sh

test-sanitize-device: setup
	@cmake/sanitize.sh device

# On a machine with a GPU; records go below benchmarks/results/gpu. The second wants PyTorch and JAX too.
gpu-check: setup
	@cmake --build build/current --target backend_cuda_test
	@$(PY) -m benchmarks.gpu.check --tests build/current/tests/unit/backend_cuda_test $(ARGS)

gpu-sanitize: setup
	@cmake --build build/current --target backend_cuda_test
	@$(PY) -m benchmarks.gpu.check --sanitize --tests build/current/tests/unit/backend_cuda_test $(ARGS)

# Also what make setup does not build: the extension module for the Python of that machine.
gpu-pack: setup
	@$(PY) benchmarks/gpu/pack.py $(ARGS)

gpu-bench: setup
	@$(PY) -m benchmarks.gpu.bench $(ARGS)

bench:
	@cmake/setup.sh bench
	@.venv-bench/bin/python -m benchmarks $(ARGS)

# Two ranks on two cores beside PyTorch's; where PyTorch is missing, Ostria's training and scaling
# alone, without all_reduce.
bench-dist:
	@cmake/setup.sh bench
	@cmake --build build/current --target dist_rank
	@.venv-bench/bin/python -m benchmarks.dist $(ARGS)

lint: lint-quick lint-tidy

lint-quick:
	@cmake/setup.sh tools
	@clang-format --dry-run -Werror $(CXX_FILES)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/lint

# Only files that differ from BASE, new ones included: clang-tidy takes seconds for each.
lint-tidy:
	@cmake/setup.sh tidy
	@files=$$({ git diff --name-only --diff-filter=d $(BASE) -- 'csrc/*.cpp' 'tests/unit/*.cpp'; \
	  git ls-files -o --exclude-standard -- 'csrc/*.cpp' 'tests/unit/*.cpp'; } | sort -u); \
	if [ -n "$$files" ]; then clang-tidy -p build/current --quiet $$files; \
	else echo "clang-tidy: no C++ file differs from $(BASE)"; fi

format:
	@cmake/setup.sh tools
	@clang-format -i $(CXX_FILES)
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format --quiet .

docs: setup
	@$(PY) docs/generate.py

clean:
	rm -rf build build-asan build-tsan .venv .venv-bench .mypy_cache .pytest_cache .ruff_cache
