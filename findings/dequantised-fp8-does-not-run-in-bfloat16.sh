#!/usr/bin/env bash
# An FP8 checkpoint that transformers dequantises on loading cannot run in the type that was asked for.
#
# Surprise: without a GPU, from_pretrained(dtype=torch.bfloat16) turns the FP8 weights of a checkpoint (block-wise, as
# DeepSeek-V3 and Qwen3-FP8 have them) into plain ones, without a word, and leaves them in float32 among others in bfloat16;
# the forward pass then fails with a mismatch of types. In float32 it runs.
# Why: the weights are made of the codes times their scales, in the type of the scales, float32 in the checkpoint; the
# conversion to the type that was asked for comes before that.
# What a guess says: all parameters have the type that is asked for.
# Seen 29 November 2026 with transformers 5.23.0, torch 2.13.0 (CPU), Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
export HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
cat > load.py <<'PY'
import json
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

print("transformers", version("transformers"), "torch", torch.__version__)
torch.manual_seed(0)
sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=260)).save_pretrained("fp8")
file = Path("fp8/model.safetensors")
weights = load_file(file)
for name in [name for name in weights if name.endswith("proj.weight")]:
    scale = weights[name].abs().max() / 448
    blocks = [-(-size // 128) for size in weights[name].shape]
    weights[name] = (weights[name] / scale).to(torch.float8_e4m3fn)
    weights[f"{name}_scale_inv"] = scale.expand(blocks).contiguous()
save_file(weights, file, {"format": "pt"})
config = json.loads(Path("fp8/config.json").read_text())
config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
Path("fp8/config.json").write_text(json.dumps(config))
ran = {}
for dtype in (torch.float32, torch.bfloat16):
    model = AutoModelForCausalLM.from_pretrained("fp8", dtype=dtype).eval()
    print(dtype, "asked for:", dict(Counter(str(weight.dtype) for weight in model.parameters())))
    try:
        model(torch.tensor([[1, 2, 3]]))
        ran[dtype] = "runs"
    except RuntimeError as error:
        ran[dtype] = f"fails: {error}"
    print("  it", ran[dtype])
sys.exit(not (ran[torch.float32] == "runs" and "same dtype" in ran[torch.bfloat16]))
PY
venv/bin/python load.py 2> errors || { cat errors; exit 1; }
