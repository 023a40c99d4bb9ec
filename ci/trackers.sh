#!/usr/bin/env bash
# Keeps a small run in the real MLflow and in the real Weights & Biases, offline, and looks at what they kept.
# They are too heavy for what `make test` installs, which checks against stand-ins what they are told.
set -euo pipefail
cd "$(dirname "$0")/.."

root="$PWD" work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"${PYTHON:-.venv/bin/python}" -m venv --system-site-packages "$work/env"
# What is installed beside AdaptBench is seen, and the trackers come on top of it.
"${PYTHON:-.venv/bin/python}" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' > "$work/installed"
mkdir "$work/code" && ln -s "$root" "$work/code/adaptbench"
site="$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
{ echo "$work/code"; cat "$work/installed"; } > "$site/beside.pth"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts \
  --constraint ci/constraints.txt mlflow-skinny==3.17.2 wandb==0.31.0

cd "$work"
export MLFLOW_TRACKING_URI="file://$work/mlruns" MLFLOW_ALLOW_FILE_STORE=true
export WANDB_MODE=offline WANDB_DIR="$work"
run=("$work/env/bin/python" -m adaptbench run --model pixels --model "vit-glyphs+layers@0.5"
  --task "digits-5way-1shot(episodes=20)" --plugin adaptbench.adapters.mlflow_tracker
  --plugin adaptbench.adapters.wandb_tracker --out "$work/runs/small")
"${run[@]}"
"${run[@]}" # nothing is kept twice
"$work/env/bin/python" "$root/ci/trackers_kept.py" "$work"
