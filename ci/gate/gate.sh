#!/usr/bin/env bash
# What the action runs, in a checkout of the head: SUITE against its baseline and, if BASE is given, against BASE in time.
set -euo pipefail

command=(adaptbench gate "$SUITE" --junit "${JUNIT:-gate.xml}")
while IFS= read -r plugin; do
  [[ -z "$plugin" ]] || command+=(--plugin "$plugin")
done <<< "${PLUGINS:-}"
[[ -z "${GITHUB_STEP_SUMMARY:-}" ]] || command+=(--markdown "$GITHUB_STEP_SUMMARY")
if [[ -n "${BASE:-}" ]]; then
  # Named as the head's folder: a checkout that is itself a package is imported by that name.
  beside="$(mktemp -d "${RUNNER_TEMP:-/tmp}/gate-base-XXXXXX")/$(basename "$(git rev-parse --show-toplevel)")"
  git worktree add --quiet --detach "$beside" "$BASE"
  trap 'git worktree remove --force "$beside"' EXIT
  command+=(--base "$beside/$(git rev-parse --show-prefix)")
fi
read -ra more <<< "${ARGUMENTS:-}"
"${command[@]}" "${more[@]}"
