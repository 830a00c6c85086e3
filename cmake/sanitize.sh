#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests under sanitizers. address+undefined: every C++ test, then Python with the instrumented
# library. thread: the rooms with threads of their own, with loops inline, because GNU OpenMP's
# barriers are invisible to the sanitizer and would be reported as races.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
configure() {  # configure FOLDER SANITIZERS
  cmake -S . -B "$1" -G Ninja -DOSTRIA_SANITIZE="$2" -DOSTRIA_INPLACE=OFF -DOSTRIA_REQUIRE_PYTHON=ON \
    -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$python" >"build/$1.log" 2>&1 ||
    { cat "build/$1.log"; exit 1; }
}
mkdir -p build
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 OMP_WAIT_POLICY=passive
# Tests ask for more memory than there is: that is an answer to give, not an error to stop at.
asan=check_initialization_order=1:strict_init_order=1:detect_stack_use_after_return=1
asan+=:allocator_may_return_null=1

echo "== address and undefined: C++ tests"
configure build-asan address,undefined
cmake --build build-asan
ASAN_OPTIONS=$asan:detect_leaks=1 \
  LSAN_OPTIONS=suppressions=$PWD/cmake/lsan.supp:print_suppressions=0 \
  ctest --test-dir build-asan -j 2 --output-on-failure --no-tests=error

echo "== address and undefined: Python"
package=$PWD/build-asan/python
rm -rf "$package"
mkdir -p "$package"
cp -r python/ostria "$package/"
find "$package" -name '*.so*' -delete  # libraries of an in-place build
cmake --install build-asan --component python --prefix "$package/ostria" >/dev/null
# libstdc++ too: the sanitizer looks up its __cxa_throw before any extension brings the library.
preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
# Python itself frees little at exit, so leaks are the C++ tests' business. A test of memory use
# allows for less than the freed blocks that the sanitizer sets aside by default.
LD_PRELOAD=$preload ASAN_OPTIONS=$asan:detect_leaks=0:quarantine_size_mb=64 PYTHONPATH=$package \
  PYTHONMALLOC=malloc "$python" tests/sanitize/smoke.py "$package"

echo "== thread: runtime and data"
configure build-tsan thread
cmake --build build-tsan --target runtime_test data_test
for room in runtime data; do
  OSTRIA_NUM_THREADS=1 TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/cmake/tsan.supp \
    "build-tsan/tests/unit/${room}_test" --gtest_brief=1
done
