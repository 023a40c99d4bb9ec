#!/usr/bin/env bash
# A checkpoint's own max_new_tokens beats the number of tokens that an lm-eval task allows an answer.
#
# Surprise: with `max_new_tokens` in generation_config.json, as many finetunes have it, lm-eval's `max_gen_toks` (of the
# task, of --gen_kwargs or of --model_args) is of no effect: 2 cuts every answer after two tokens, 40 lets a task that
# allows 8 run on to 40. So one task has answers of other lengths, and other scores, for each checkpoint.
# Why: lm-eval passes `max_length` (prompt and answer together) to `generate`; transformers prefers `max_new_tokens` wherever
# it comes from, and warns that "both seem to have been set", which nobody did.
# What a guess says: an argument of the call beats a default in a file. `max_length` in the file is indeed beaten.
# Seen 29 November 2026 with lm-eval 0.4.13, transformers 5.23.0, torch 2.13.0, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0
venv/bin/pip install --quiet 'lm-eval[hf]==0.4.13' transformers==5.23.0
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > lengths.py <<'PY'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
import transformers as hf
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers

words = ["</s>", "<unk>", *(f"w{n}" for n in range(60))]
tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
config = hf.LlamaConfig(**sizes, vocab_size=62, eos_token_id=0, bos_token_id=None, initializer_range=0.5)
model = hf.LlamaForCausalLM(config)
model.lm_head.weight.data[0] = 0  # it never ends by itself
folder = Path("checkpoint")
model.save_pretrained(folder)
fast.save_pretrained(folder)


def tokens(**settings):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, **settings}))
    asked = {"until": [], "max_gen_toks": 8, "do_sample": False}
    request = Instance("generate_until", {}, ("w1 w2 w3", asked), 0)
    [answer] = HFLM(pretrained=str(folder), dtype="float32", device="cpu").generate_until([request], disable_tqdm=True)
    return len(answer.split())


print(*(f"{name} {version(name)}" for name in ("lm_eval", "transformers", "torch")))
found = {}
for settings in ({}, {"max_new_tokens": 2}, {"max_new_tokens": 40}, {"max_length": 5}):
    found[str(settings)] = tokens(**settings)
    print(f"max_gen_toks 8, generation_config {settings}: answers of {found[str(settings)]} tokens")
sys.exit(list(found.values()) != [8, 2, 40, 8])
PY
venv/bin/python lengths.py 2> errors || { status=$?; cat errors; exit "$status"; }
