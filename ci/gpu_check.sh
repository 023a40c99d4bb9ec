#!/usr/bin/env bash
# Check AdaptBench on a machine with one NVIDIA GPU, in at most eight minutes and without network.
#
#     ci/gpu_check.sh wheels [FOLDER] [FREEZE]    # first, where there is a network: what the machine may lack
#     ci/gpu_check.sh [--out FOLDER] [--small]    # on the machine: runs/gpu-check/gpu-check.json and .html
#
# Needs Python 3.12 with torch and transformers ($PYTHON, or python3). What else is missing comes from FOLDER ($WHEELS, or
# .gpu-wheels) and goes into a folder of its own; nothing of the machine's is replaced. FREEZE is what `pip freeze` prints
# there: FOLDER is then without what it has. Without a GPU, a small model runs on the processor.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
wheels=${WHEELS:-$root/.gpu-wheels}
if [ "${1:-}" = wheels ]; then
  shift
  exec "$python" "$root/ci/gpu_check/packages.py" wheels "${1:-$wheels}" ${2:+"$2"}
fi
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
unset PYTHONDONTWRITEBYTECODE # what one part compiles, the next one need not
export HF_HUB_OFFLINE=1 PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
"$python" "$root/ci/gpu_check/packages.py" install "$wheels" "$site"
PYTHONPATH="$root/ci:$PYTHONPATH" "$python" -m gpu_check --seconds $((480 - SECONDS)) "$@"
