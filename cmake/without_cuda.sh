#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Says what is skipped where the CUDA backend was not built, and why; fails where it was built.
#   without_cuda.sh WHAT [CACHE]   CACHE: the CMakeCache.txt of the build, else that of build/current
set -euo pipefail
cache=${2:-$(dirname "$0")/../build/current/CMakeCache.txt}
why=$(sed -n 's/^OSTRIA_CUDA_OBSTACLE:INTERNAL=//p' "$cache")
[ -n "$why" ] || exit 1
echo "SKIP: $1: $why"
