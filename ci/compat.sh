#!/usr/bin/env bash
# Test both ends of the window that pyproject.toml states: every direct dependency at its floor, and everything at its
# newest release. torch is the build of ci/constraints.txt at both. Environments and what was resolved: .compat/.
# Usage: ci/compat.sh [floor] [newest], with PYTHON and TORCH_INDEX as in the Makefile; needs a Python, pip and PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_SYSTEM_CERTS=true HF_HUB_OFFLINE=1
unset PYTHONPATH
mkdir -p .compat
grep '^torch==' ci/constraints.txt > .compat/torch.txt
[ -x .compat/uv/bin/uv ] || { $python -m venv .compat/uv && .compat/uv/bin/python -m pip install --quiet uv; }

# What the tests themselves need is resolved with what users get; linters are not: they would lift its floors.
$python - > .compat/tests.txt <<'PYTHON'
import pathlib, tomllib
dev = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
print(*(one for one in dev if one.startswith(("hypothesis", "pytest"))), sep="\n")
PYTHON

resolve() { # END: what is to be installed, as constraints
  local how=highest
  [ "$1" = newest ] || how=lowest-direct
  .compat/uv/bin/uv pip compile --quiet --no-header --annotation-style line --python "$(command -v "$python")" \
    --resolution $how --constraint .compat/torch.txt --extra all pyproject.toml .compat/tests.txt
}

environment() { # END
  local bin=.compat/$1/bin
  resolve "$1" > ".compat/$1.new"
  if ! cmp --silent ".compat/$1.new" ".compat/$1.txt"; then
    rm -rf ".compat/$1" ".compat/$1.txt"
    $python -m venv ".compat/$1"
    # First, so that nothing asks for another build; ${TORCH_INDEX} is one option or none.
    "$bin/python" -m pip install --quiet ${TORCH_INDEX:-} --requirement .compat/torch.txt
    "$bin/python" -m pip install --quiet --constraint ".compat/$1.new" --requirement .compat/tests.txt --editable '.[all]'
    mv ".compat/$1.new" ".compat/$1.txt"
  fi
  "$bin/python" -m pip check
  echo "direct dependencies at $1:"
  grep -E 'via .*(adaptbench|tests\.txt)' ".compat/$1.txt" | sed 's/ *#.*//' | paste -sd ' ' | fold -sw 118
  [ "$1" != newest ] || .compat/uv/bin/uv pip list --outdated --python "$bin/python"
}

check() { # END
  local bin=.compat/$1/bin
  "$bin/python" -m pytest --quiet --numprocesses 2 --dist loadgroup tests/adapters tests/models tests/harness/measure
  rm -rf ".compat/$1/demo"
  "$bin/adaptbench" run demo --out ".compat/$1/demo"
  "$bin/adaptbench" report ".compat/$1/demo" --out ".compat/$1/demo.html"
}

[ $# -gt 0 ] || set -- floor newest
failed=""
for end in "$@"; do
  environment "$end"
  (check "$end") || failed="$failed $end"
done
[ -z "$failed" ] || { echo "failed at:$failed" >&2; exit 1; }
