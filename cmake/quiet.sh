#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command and shows its output only where it fails: for many that run side by side.
output=$("$@" 2>&1) && exit 0
status=$?
printf '%s\n' "failed with $status: $*" "$output" >&2
exit 255  # xargs starts no more
