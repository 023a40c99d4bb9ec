#!/usr/bin/env bash
# lm-eval accepts `fewshot_config: {fewshot_indices: [...]}` and shows other documents as demonstrations.
#
# Surprise: a task that names the rows of its demonstrations gets the first rows (sampler first_n) or drawn ones, without a
# word, although the field is one of FewshotConfig's and the samplers have code for it.
# Why: ConfigurableTask builds its sampler as `sampler_cls(docs, rnd=None)`, and leaves the indices out.
# What a guess says: what two dataclasses and a sampler name is used; a key that is not is an error, as other keys are.
# Seen 29 November 2026 with lm-eval 0.4.13, datasets 5.2.0, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet lm-eval==0.4.13 datasets==5.2.0
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > indices.py <<'PY'
import json
import sys
from importlib.metadata import version
from pathlib import Path

from lm_eval.api.samplers import ContextSampler
from lm_eval.tasks import TaskManager

rows = Path("rows.jsonl").resolve()
rows.write_text("\n".join(json.dumps({"q": f"Q{n}", "a": f"A{n}"}) for n in range(30)))
Path("tasks").mkdir()
common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"train": str(rows), "test": str(rows)}}}
common |= {"test_split": "test", "fewshot_split": "train", "output_type": "generate_until", "num_fewshot": 2}
common |= {"doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
configs = {"drawn": {"fewshot_indices": [7, 8]}, "first": {"sampler": "first_n", "fewshot_indices": [7, 8]}}
for name, config in configs.items():
    Path(f"tasks/{name}.yaml").write_text(json.dumps(common | {"task": name, "fewshot_config": config}))
print("lm-eval", version("lm_eval"))
manager = TaskManager(include_path="tasks", include_defaults=False)
shown = {}
for name in configs:
    task = manager.load([name])["tasks"][name]
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    shown[name] = {one.args[0].rpartition("\n\n")[0] for one in task.instances}
    print(f"{configs[name]}: {len(shown[name])} different pairs of demonstrations, such as {min(shown[name])!r}")
alone = ContextSampler([{"q": n} for n in range(30)], rnd=0, fewshot_indices=[7, 8]).sample(2)
print("the sampler by itself, given the indices:", sorted(one["q"] for one in alone))
sys.exit(not (shown["first"] == {"Q0 A0\n\nQ1 A1"} and len(shown["drawn"]) > 2 and len(alone) == 2))
PY
venv/bin/python indices.py 2> errors || { status=$?; tail -5 errors; exit "$status"; }
