#!/usr/bin/env bash
# Tries scripts for a GitHub job: `stethoscope check` or `stethoscope run` for each line of TARGETS (a script with its
# arguments, quoted as in a shell, but never read by one; `#` begins a comment). All of them are tried; the job fails
# when one of them does. TARGETS, FAIL_ON, ARGUMENTS; and GITHUB_OUTPUT and RUNNER_TEMP, which GitHub sets.
set -uf
kind=$1
reports=${RUNNER_TEMP:-/tmp}/stethoscope
mkdir -p "$reports"
if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "reports=$reports" >> "$GITHUB_OUTPUT"; fi

split='import shlex, sys
try:
    words = shlex.split(sys.argv[1], comments=True)
except ValueError as error:
    print(f"::error title=stethoscope::{error} in this line: {sys.argv[1]}", file=sys.stderr)
    sys.exit(2)
for word in words:
    sys.stdout.buffer.write(word.encode() + b"\0")'

worst=0
number=0
while IFS= read -r line; do
  if ! python -c "$split" "$line" > "$reports/words"; then
    worst=2
    continue
  fi
  words=()
  while IFS= read -r -d '' word; do words+=("$word"); done < "$reports/words"
  if [ "${#words[@]}" = 0 ]; then continue; fi
  number=$((number + 1))
  name=$kind-$number
  rm -f "$reports/$name.txt" # of an earlier step of the job: a run that dies writes none
  echo "::group::stethoscope $kind ${words[*]}"
  # shellcheck disable=SC2086 # several words
  stethoscope "$kind" --store "$reports/runs" --fail-on "$FAIL_ON" --junit "$reports/$name.xml" \
    --html "$reports/$name.html" --github "$reports/$name.txt" $ARGUMENTS "${words[@]}" < /dev/null
  code=$? # a script that reads its input must not read the lines of TARGETS that are left
  echo "::endgroup::"
  if [ -f "$reports/$name.txt" ]; then cat "$reports/$name.txt"; fi
  if [ "$code" != 0 ]; then echo "stethoscope $kind ${words[*]}: exit code $code"; fi
  if [ "$code" -gt "$worst" ]; then worst=$code; fi
done <<< "$TARGETS"
rm -f "$reports/words"
if [ "$number" = 0 ] && [ "$worst" = 0 ]; then
  echo "::error title=stethoscope::there is nothing to $kind: name a script"
  worst=2
fi
exit "$worst"
