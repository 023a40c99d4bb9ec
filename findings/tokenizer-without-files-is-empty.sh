#!/usr/bin/env bash
# AutoTokenizer makes a tokenizer that knows no words of a folder that holds no tokenizer at all.
#
# Surprise: of a folder with a config.json and nothing else, AutoTokenizer returns a tokenizer without a warning, for GPT-2,
# OPT, Qwen2, Mamba, BERT and T5. It turns every text into no tokens, or into unknown ones; generate then answers nothing
# that was asked. For Llama the same folder raises.
# Why: since version 5 a tokenizer's class builds its backend itself, and an empty vocabulary is its default.
# What a guess says: a missing tokenizer.json raises, as it did in version 4.
# Seen 29 November 2026 with transformers 5.23.0, tokenizers 0.23.3, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet transformers==5.23.0 tokenizers==0.23.3
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > load.py <<'PY'
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from transformers import AutoTokenizer

warnings.simplefilter("error")
print("transformers", version("transformers"), "tokenizers", version("tokenizers"))
empty = []
for kind in ("gpt2", "opt", "qwen2", "mamba", "bert", "t5", "llama"):
    folder = Path(kind)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        print(f"{kind:6} raises {type(error).__name__}")
        continue
    ids = tokenizer("The capital of France is Paris.").input_ids
    print(f"{kind:6} {type(tokenizer).__name__} of {len(tokenizer)} tokens: {ids}")
    empty.append(kind)
sys.exit(empty != ["gpt2", "opt", "qwen2", "mamba", "bert", "t5"])
PY
venv/bin/python load.py 2> errors || { cat errors; exit 1; }
if grep -v "PyTorch was not found" errors; then echo "a warning was given"; exit 1; fi
echo "no warning was given"
