#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the make targets need, says what and why, and does nothing where nothing is missing.
#   setup.sh         system packages, .venv with pinned requirements, build, install into .venv
#   setup.sh tools   system packages and .venv only, for the linters that need no build
#   setup.sh tidy    as without a word, and clang-tidy
#   setup.sh bench   as without a word, and .venv-bench with the peers that benchmarks compare with
#   setup.sh distributed as without a word, and Gloo, Slurm, Open MPI, network namespaces
#   setup.sh interop as bench, and what the tests beside those peers need
# Stamps (hashes of what went in) lie in .venv and .venv-bench; delete a folder to start afresh.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-build}
case $mode in
  build | tools | tidy | distributed | bench | interop) ;;
  *) echo "setup.sh: tools, tidy, distributed, bench or interop, not '$mode'" >&2; exit 2 ;;
esac
say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# --- Python ---------------------------------------------------------------------------------------
python=""
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "no Python 3.11 or later found; install one, or name one with PYTHON=<path>"

# --- System packages ------------------------------------------------------------------------------
packages=()
need() {  # need PACKAGE REASON PROBE...: PROBE succeeds when there is nothing to install
  local package=$1 reason=$2
  shift 2
  if ! "$@" >/dev/null 2>&1; then
    say "missing: $package ($reason)"
    packages+=("$package")
  fi
}
has() { command -v "$1"; }
any_file() { local f; for f in "$@"; do [ -e "$f" ] && return 0; done; return 1; }
gloo=(/usr{,/local}/include/gloo/transport/tcp/device.h)
has_mpi() {  # a function, since patterns match only after the installation
  any_file /usr/{include,lib}/*-linux-gnu/{,openmpi/include/,mpi/}mpi.h /usr{,/local}/include/mpi.h
}
check_packages() {
  need g++ "compiles the C++ core; brings OpenMP" has g++
  need cmake "drives the build" has cmake
  need ninja-build "runs the build" has ninja
  need ccache "makes a second build quick" has ccache
  need libgtest-dev "the C++ tests are written with GoogleTest" any_file /usr{,/local}/include/gtest/gtest.h
  need libgmock-dev "and say what they expect with its matchers" any_file /usr{,/local}/include/gmock/gmock.h
  need libsodium-dev "processes of a job prove to each other that they know its secret" any_file \
    /usr{,/local}/lib{/*-linux-gnu,64,}/libsodium.a
  need git "tells what changed, for the linters" has git
  need python3-dev "headers to build the Python extension" "$python" -c \
    'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")'
  need python3-venv "makes .venv, where ostria is installed" "$python" -c 'import ensurepip, venv'
  [ "$mode" != bench ] || need libjemalloc2 "the heap that every framework is measured with" any_file \
    /usr/lib/*-linux-gnu/libjemalloc.so.2 /usr/lib{64,}/libjemalloc.so.2
  if [ "$mode" = distributed ]; then
    need libgloo-dev "carries sums between hosts" any_file "${gloo[@]}"
    need slurm-wlm "tests start ranks by srun on two nodes of one machine" has /usr/sbin/slurmctld
    need munge "by which Slurm's daemons know each other" has /usr/sbin/munged
    need openmpi-bin "tests start ranks by mpirun" has mpirun
    need libopenmpi-dev "carries sums between processes that mpirun started" has_mpi
    need iproute2 "tests make hosts of network namespaces" has /sbin/ip
  fi
  if [ "$mode" = tools ]; then
    need clang-format "checks the layout of the C++ code" has clang-format
  else
    [ "$mode" != tidy ] || need clang-tidy "checks the C++ code for mistakes" has clang-tidy
    need dataset-fashion-mnist "the images that 'make train' learns" any_file \
      /usr/share/dataset-fashion-mnist/* /usr/share/datasets/fashion-mnist/*
  fi
}
check_packages
if [ ${#packages[@]} -gt 0 ]; then
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  if ! command -v apt-get >/dev/null; then
    fail "these packages have Debian's names and apt-get is not here; install their like by hand: ${packages[*]}"
  fi
  if [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
    fail "not root and no sudo; ask someone to run: apt-get install ${packages[*]}"
  fi
  say "installing with apt-get: ${packages[*]}"
  "${root[@]}" apt-get -qq update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${packages[@]}" >/dev/null
  packages=()
  check_packages
  [ ${#packages[@]} -eq 0 ] || fail "still missing for $(command -v "$python"): ${packages[*]}"
fi

# --- Virtual environments -------------------------------------------------------------------------
hash_of() { sha256sum "$@" | sha256sum | cut -c1-32; }
stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
environment() {  # environment FOLDER REQUIREMENTS WHAT: makes it and keeps it at those requirements
  local folder=$1 requirements=$2 what=$3 stamp file
  file=$folder/.$(basename "$requirements" .txt)
  if ! "$folder/bin/python" -c '' 2>/dev/null; then
    say "making $folder with $("$python" --version)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
  fi
  stamp=$(hash_of "$requirements")
  if ! stamped "$file" "$stamp"; then
    say "installing $requirements into $folder ($what)"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    echo "$stamp" >"$file"
  fi
}
environment .venv requirements/dev.txt "NumPy, build back end, tests, linters"
[ "$mode" != tools ] || exit 0

# --- Build and install ----------------------------------------------------------------------------
# The folder is setup.py's: the tests and the wheel share one build.
tag=$(.venv/bin/python -c 'import sys, sysconfig
v = "cp%d%d" % sys.version_info[:2]
print(v, v, sysconfig.get_platform().replace("-", "_"), sep="-")')
export CMAKE_ARGS="-DOSTRIA_BUILD_TESTS=ON -DOSTRIA_WERROR=${OSTRIA_WERROR:-OFF} ${CMAKE_ARGS:-}"
wheels=build/$tag/dist
sources=$({
  echo "$tag $CMAKE_ARGS" "$(any_file "${gloo[@]}" && echo gloo)" "$(has_mpi && echo mpi)"
  find csrc kernels cmake python packaging tests/fake_cuda CMakeLists.txt setup.py pyproject.toml README.md LICENSE tests/unit/CMakeLists.txt \
    -type f -not -name '*.so' -not -name '*.so.*' -not -path '*/__pycache__/*' -not -path '*.egg-info/*' \
    -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
} | hash_of -)
install_into() {
  stamped "$1/.ostria" "$sources" && return
  if ! stamped "$wheels/.stamp" "$sources"; then
    say "building ostria (C++ and Python extension) in build/$tag"
    .venv/bin/python setup.py --quiet build_ext  # visible progress; pip hides it
    rm -rf "$wheels"
    .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
      --wheel-dir "$wheels" .
    if ! cmake/without_cuda.sh "the wheel ostria-cuda" "build/$tag/CMakeCache.txt"; then
      say "building ostria-cuda (CUDA backend)"
      .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --wheel-dir "$wheels" packaging/ostria-cuda
    fi
    echo "$sources" >"$wheels/.stamp"
  fi
  say "installing $(cd "$wheels" && echo *.whl) into $1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
    "$wheels"/*.whl
  echo "$sources" >"$1/.ostria"
}
install_into .venv
if [ "$mode" = bench ] || [ "$mode" = interop ]; then
  environment .venv-bench requirements/bench.txt "NumPy, and Matplotlib for the chart"
  install_into .venv-bench
  peers=()
  [ "$mode" != interop ] || peers=(torch jax)  # the others are only measured
  .venv-bench/bin/python -m benchmarks.peers "${peers[@]}"
fi
[ "$mode" != interop ] || environment .venv-bench requirements/interop.txt "pytest, TensorBoard, safetensors"
ln -sfn "$tag" build/current
