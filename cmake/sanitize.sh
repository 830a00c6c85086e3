#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests under sanitizers. address+undefined: every C++ test, then Python with the instrumented
# library. thread: the rooms with threads of their own, with loops inline, because GNU OpenMP's
# barriers are invisible to the sanitizer and would be reported as races.
#   sanitize.sh          all of that
#   sanitize.sh device   the CUDA backend and the runtime on the fake driver, address and undefined,
#                        then thread, built beside the plain tests (tests/sanitize says of what)
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

# Every test in a process of its own, as ctest runs it, and two at a time.
on_fake_driver() {  # on_fake_driver NAME FILTER
  local program tests
  echo "== $1: the CUDA backend and the runtime on the fake driver"
  cmake --build build/current --target "device_$1"
  for program in backend_cuda runtime; do
    program=build/current/tests/sanitize/${program}_$1
    tests=$("$program" --gtest_list_tests --gtest_filter="$2" |
      awk '/^[A-Za-z].*[.]/ && !/^Running main/ { suite = $1 } /^  / { print suite $1 }')
    echo "${program##*/}: $(wc -l <<<"$tests") tests"
    OSTRIA_CUDA_LIBRARIES=$PWD/build/current/fake_cuda_$1 OSTRIA_NUM_THREADS=1 \
      xargs -P 2 -I {} cmake/quiet.sh "$program" --gtest_brief=1 --gtest_filter={} <<<"$tests"
  done
}
if [ "${1:-}" = device ]; then
  if cmake/without_cuda.sh "the CUDA backend under sanitizers"; then exit 0; fi
  # Memory of the fake driver is no memory that the sanitizer allocates, and goes with the process.
  export ASAN_OPTIONS=$asan:detect_leaks=0
  on_fake_driver asan '-CudaLoopCompiled.*'
  export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/cmake/tsan.supp
  # What shares state between threads; the ops have one each, and their fibers are slow to watch.
  threads='CudaControl.*:CudaData.*:CudaDevice.*:CudaExecutable.*:CudaLibrary.*:CudaLoopCache.*'
  threads+=':CudaMemory.*:CudaStreams.*:DiskCache.*:FakeDriver.*:Vmm/*:Device*:Streams.*'
  on_fake_driver tsan "$threads"
  exit 0
fi

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

echo "== thread: runtime, data and dist"
configure build-tsan thread
cmake --build build-tsan --target runtime_test data_test dist_test
for room in runtime data dist; do
  OSTRIA_NUM_THREADS=1 TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/cmake/tsan.supp \
    "build-tsan/tests/unit/${room}_test" --gtest_brief=1
done
