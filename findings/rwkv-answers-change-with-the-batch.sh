#!/usr/bin/env bash
# RWKV answers otherwise in a batch than alone, though no row is padded.
#
# Surprise: generate(do_sample=False) of RWKV gives other answers to prompts in a batch than to each of them alone, even if
# all have the same length, so that there is no padding. The prompt itself is read right; every step after it is wrong.
# Why: for one token per row, the modules take the state of the token before from the state as [rows, hidden] where [rows, 1,
# hidden] is meant. That is broadcast to [rows, rows, hidden], and what follows reads a wrong row of it; of one row it is right.
# What a guess says: without padding, a batch is its rows.
# Seen 29 November 2026 with transformers 5.23.0, torch 2.13.0, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0
export HF_HUB_OFFLINE=1
cat > answers.py <<'PY'
import sys
from importlib.metadata import version

import torch
from transformers import RwkvConfig, RwkvForCausalLM

print("transformers", version("transformers"), "torch", torch.__version__)
torch.manual_seed(0)
config = RwkvConfig(hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, vocab_size=260)
model = RwkvForCausalLM(config).eval()
for weight in model.parameters():
    if weight.ndim > 1:
        torch.nn.init.normal_(weight, std=0.25)
model.generation_config.eos_token_id = None
prompts = torch.randint(2, 250, (4, 20), generator=torch.Generator().manual_seed(0))


def answers(rows):
    mask = torch.ones_like(rows)
    said = model.generate(rows, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)
    return said[:, rows.shape[1] :].tolist()


together, alone = answers(prompts), [answers(prompts[row : row + 1])[0] for row in range(4)]
for one, other in zip(together, alone):
    print("in the batch", one, "alone", other)
with torch.inference_mode():
    read = model(prompts).logits
    apart = (read[0] - model(prompts[:1]).logits[0]).abs().max().item()
    step = model(prompts[:, -1:], state=model(prompts[:, :-1], use_cache=True).state, use_cache=True).logits[:, -1]
print(f"reading: {apart:.1e} apart; one step: {(step - read[:, -1]).abs().max().item():.1e} apart")
first_right = [one[0] == other[0] for one, other in zip(together, alone)]
sys.exit(not (all(first_right) and together != alone and apart < 1e-4))
PY
venv/bin/python answers.py 2> errors || { cat errors; exit 1; }
