#!/usr/bin/env bash
# transformers' tensor parallel plan of DeepSeek-V3 leaves all of its attention whole on every rank.
#
# Surprise: with tp_plan="auto" on two ranks, each holds half of the layers' weights of a Llama and of a GLM-4-MoE, but of a
# DeepSeek-V3 all weights of attention, without a warning; experts and MLPs are halved. So attention's weights, FLOPs and cache do
# not shrink with the number of cards, where Megatron-LM and serving engines share multi-head latent attention by heads.
# Why: the plan that the config states names MLPs and experts only.
# What a guess says: "auto" shares attention by heads, as for any other decoder.
# Seen 30 November 2026 with transformers 5.23.0, accelerate 1.15.0, torch 2.13.0 (CPU, gloo), Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 numpy
export HF_HUB_OFFLINE=1 HF_HOME="$work/home" OMP_NUM_THREADS=1
cat > share.py <<'PY'
import os
import sys

import torch
import torch.distributed as dist
from transformers import AutoConfig, AutoModelForCausalLM

kind = sys.argv[1]
shape = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=8,
             head_dim=8, vocab_size=256)
if kind != "llama":
    shape |= dict(n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, n_group=1, topk_group=1,
                  first_k_dense_replace=1)
if kind == "deepseek_v3":
    shape |= dict(q_lora_rank=32, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8)
if "RANK" not in os.environ:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape)).save_pretrained(kind)
    sys.exit()
model = AutoModelForCausalLM.from_pretrained(kind, tp_plan="auto")


def held(inside):
    """The share of some weights of the layers that this rank holds."""
    chosen = [p for name, p in model.named_parameters() if "layers" in name and ("self_attn" in name) == inside]
    mine = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in chosen)
    return mine / sum(p.numel() for p in chosen)


if dist.get_rank() == 0:
    print(f"{kind:12} attention {held(True):.2f} everything else in the layers {held(False):.2f}", flush=True)
dist.barrier()
dist.destroy_process_group()
PY
for kind in llama glm4_moe deepseek_v3; do
  venv/bin/python share.py "$kind" 2> /dev/null
  venv/bin/torchrun --nproc-per-node 2 share.py "$kind" 2> "errors-$kind" | tee -a seen || { cat "errors-$kind"; exit 1; }
done
grep -q "^llama .*attention 0.50 .*layers 0.50" seen
grep -q "^glm4_moe .*attention 0.50 .*layers 0.5" seen
grep -q "^deepseek_v3 .*attention 1.00 .*layers 0.5" seen
