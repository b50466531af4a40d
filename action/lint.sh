#!/usr/bin/env bash
# Reviews files for a GitHub job: `stethoscope lint` with the action's inputs, which come as variables so that none of
# them is read as shell code. PATHS, FORM, OUTPUT, BASELINE, FAIL_ON, ARGUMENTS.
set -uf # f: the patterns of PATHS are for `stethoscope lint`

options=(--no-cache --format "$FORM" --fail-on "$FAIL_ON")
if [ -n "$OUTPUT" ]; then options+=(--output "$OUTPUT"); fi
if [ -n "$BASELINE" ]; then options+=(--baseline "$BASELINE"); fi
# shellcheck disable=SC2086 # several words each
exec stethoscope lint "${options[@]}" $ARGUMENTS -- $PATHS
