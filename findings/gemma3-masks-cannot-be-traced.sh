#!/usr/bin/env bash
# torch.jit.trace fails on Gemma 3 with an image by "unordered_map::at", whatever its attention; torch.export takes it.
#
# Surprise: the model runs, and without an image it is traced; with one, tracing ends in a RuntimeError whose message is
# that of a C++ container and names no operator, module or line of Python.
# Why: transformers makes the mask in which the tokens of an image see each other by torch.vmap, over a function that
# indexes a tensor by the mapped numbers; a tracer that is at work meets tensors of vmap's that it never recorded. No
# mask is made that way where no tokens of an image are told.
# What a guess says: eager attention, or a mask given by hand, helps; or the trace fails on the tower, where other models
# with images fail. It does not depend on the attention, and the tower is traced.
# Seen 29 November 2026 with torch 2.13.0 (CPU), transformers 5.23.0, Python 3.11; PaliGemma, LLaVA and Qwen2-VL are traced.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > trace.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import torch
import transformers as hf

warnings.simplefilter("ignore")
hf.utils.logging.set_verbosity_error()
heads = {"num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
model = hf.Gemma3ForConditionalGeneration(
    hf.Gemma3Config(
        text_config=heads | {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 20},
        vision_config=heads | {"image_size": 28, "patch_size": 7},
        mm_tokens_per_image=4, image_token_index=4,
    )
).eval()
print("torch", version("torch"), "transformers", version("transformers"))


class Read(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, ids, pixels=None, kinds=None):
        return self.model(input_ids=ids, pixel_values=pixels, token_type_ids=kinds, use_cache=False).logits


def traced(*inputs):
    with torch.no_grad():
        assert Read()(*inputs).isfinite().all()
        try:
            torch.jit.trace(Read(), inputs, check_trace=False)
        except RuntimeError as error:
            return f"RuntimeError: {error}"
        return "traced"


ids = torch.tensor([[5, 4, 4, 4, 4, 6]])
image = (ids, torch.rand(1, 3, 28, 28), (ids == 4).long())
found = {}
for attention in ("sdpa", "eager"):
    model.set_attn_implementation(attention)
    found[attention] = traced(*image), traced(ids.where(ids != 4, 7))
    print(f"{attention}: with an image {found[attention][0]}; without one {found[attention][1]}")
sys.exit(any(told != ("RuntimeError: unordered_map::at", "traced") for told in found.values()))
PY
venv/bin/python trace.py
