#!/usr/bin/env bash
# The counted FLOPs of one Llama, same config and weights, differ between transformers 5.18 and 5.19.
#
# Surprise: nothing of the model's architecture changed, its logits are equal bit by bit, and yet both usual counters,
# torch's FlopCounterMode and fvcore, give another total; a number in a paper that names the model but not the release
# cannot be had again exactly, and a closed form that agrees to the last digit with one release does not with the other.
# Why: up to 5.18 the angles of the rotary embedding are a matrix product of frequencies and positions, which counters
# count; from 5.19 they are the same numbers by a product element by element, which counters leave out.
# What a guess says: FLOPs are a property of the architecture and the shapes.
# Seen 29 November 2026 with torch 2.13.0 (CPU), fvcore 0.1.5.post20221221, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 fvcore==0.1.5.post20221221 transformers==5.19.0
venv/bin/pip install --quiet --no-deps --target older transformers==5.18.0
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
cat > count.py <<'PY'
import hashlib
import logging
import warnings

import torch
import transformers
from fvcore.nn import FlopCountAnalysis
from torch.utils.flop_counter import FlopCounterMode

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.manual_seed(0)
config = transformers.LlamaConfig(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=100,
    attn_implementation="eager",
)
model = transformers.LlamaForCausalLM(config).eval()
ids = torch.arange(24)[None]


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids, use_cache=False).logits


with torch.no_grad():
    with FlopCounterMode(display=False) as counter:
        logits = Logits()(ids)
    print("transformers", transformers.__version__)
    print("  FlopCounterMode", counter.get_total_flops())
    print("  fvcore", FlopCountAnalysis(Logits().eval(), ids).unsupported_ops_warnings(False).total())
    print("  logits", hashlib.sha256(logits.numpy().tobytes()).hexdigest()[:16])
PY
PYTHONPATH=older venv/bin/python count.py > 5.18.txt
venv/bin/python count.py > 5.19.txt
cat 5.18.txt 5.19.txt
value() { awk -v name="$1" '$1 == name { print $2 }' "$2"; }
status=0
[ "$(value logits 5.18.txt)" = "$(value logits 5.19.txt)" ] || { echo "the logits differ"; status=1; }
for counter in FlopCounterMode fvcore; do
  echo "$counter: $(($(value $counter 5.18.txt) - $(value $counter 5.19.txt))) more in 5.18"
  [ "$(value $counter 5.18.txt)" != "$(value $counter 5.19.txt)" ] || { echo "$counter gives the same"; status=1; }
done
exit $status
