#!/usr/bin/env bash
# mlflow-skinny installs, imports, and cannot keep a run anywhere on the machine without being told how, and then not with SQLite.
#
# Surprise: with nothing configured, mlflow-skinny names sqlite:///mlflow.db as its tracking URI and refuses that very URI:
# "Model registry functionality is unavailable; got unsupported URI". With a folder, which was MLflow's default for years, it
# refuses too: "The filesystem tracking backend (e.g., './mlruns') is in maintenance mode". A run is kept in a folder only if
# MLFLOW_ALLOW_FILE_STORE=true is set, and in SQLite not at all.
# Why: the default moved from ./mlruns to SQLite, whose store needs SQLAlchemy, which the skinny package leaves out; and the
# folder's store now raises an exception unless a variable waives it.
# What a guess says: a client library's default works, or MLFLOW_TRACKING_URI=file:///... does, as every tutorial has it.
# Seen 29 November 2026 with mlflow-skinny 3.17.2, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet mlflow-skinny==3.17.2
unset MLFLOW_TRACKING_URI MLFLOW_ALLOW_FILE_STORE
cat > keep.py <<'PY'
import logging
import sys

import mlflow

logging.disable(logging.CRITICAL)
uri = sys.argv[1] if len(sys.argv) > 1 else None
name = uri or f"the default, {mlflow.get_tracking_uri()}"
try:
    client = mlflow.MlflowClient(uri)
    run = client.create_run(client.create_experiment("any"))
    client.log_metric(run.info.run_id, "accuracy", 0.5)
    print(f"kept: {name}")
except mlflow.exceptions.MlflowException as error:
    print(f"refused: {name}: {str(error).strip()[:90]}...")
PY
{
  venv/bin/python keep.py
  venv/bin/python keep.py "file://$work/runs"
  MLFLOW_ALLOW_FILE_STORE=true venv/bin/python keep.py "file://$work/runs"
} 2> errors | tee said
venv/bin/python -c 'import mlflow, platform; print(f"mlflow-skinny {mlflow.__version__}, Python {platform.python_version()}")'
[[ "$(cut -d: -f1 said | tr '\n' ' ')" == "refused refused kept " ]] && grep -q '^refused: the default, sqlite:///' said
