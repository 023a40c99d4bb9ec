#!/usr/bin/env bash
# lm-eval's GPQA with demonstrations asks other questions in the first run than in every later one.
#
# Surprise: the first run on a machine shows some questions their own answer and orders the choices in one way; all later
# runs show none their own answer and order the choices of every question otherwise. So one model has two accuracies.
# Why: `process_docs` of gpqa/n_shot shuffles the choices by a generator of its module, and lm-eval calls it three times,
# for the demonstrations, the documents and once more. In the first run each call goes on with the generator, so the
# document is no longer equal to itself and is not left out of its own demonstrations. datasets' `map` knows its result by
# a hash that includes the generator's state: in the second run the first call is answered from the cache, the generator
# stays where it was, and the other calls are answered with the same.
# What a guess says: the generator has a fixed seed (42), so every run asks the same; and as lm-eval excludes the evaluated
# document from its demonstrations here (`fewshot_split` is none, the split evaluated is the one demonstrated), no leak.
# Seen 29 November 2026 with lm-eval 0.4.13, datasets 5.2.0, dill 0.4.1, Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet lm-eval==0.4.13 datasets==5.2.0 dill==0.4.1 multiprocess==0.70.19
export HF_HUB_OFFLINE=1 HF_HOME="$work/home"
cat > rows.py <<'PY'
import json

for n in range(60):
    wrong = {f"Incorrect Answer {i}": f"wrong {n}.{i}" for i in (1, 2, 3)}
    print(json.dumps({"Question": f"Which gas has number {n}?", "Correct Answer": f"gas {n}"} | wrong))
PY
venv/bin/python rows.py > rows.jsonl
cat > prompts.py <<'PY'
import json
from importlib.metadata import version
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

shipped = Path(lm_eval.__file__).parent / "tasks/gpqa/n_shot/_gpqa_n_shot_yaml"
ours = {"include": str(shipped), "task": "gpqa_rows", "num_fewshot": 5, "dataset_path": "json"}
ours["dataset_kwargs"] = {"data_files": {"train": str(Path("rows.jsonl").resolve())}}
Path("tasks").mkdir(exist_ok=True)
Path("tasks/rows.yaml").write_text(json.dumps(ours))
task = TaskManager(include_path="tasks", include_defaults=False).load(["gpqa_rows"])["tasks"]["gpqa_rows"]
task.set_fewshot_seed(1234)
task.build_all_requests()
prompts = list({one.doc_id: one.args[0] for one in task.instances}.values())
asked = [prompt.split("Question: ")[1:] for prompt in prompts]
own = sum(shown[-1].split("\n")[0] in [one.split("\n")[0] for one in shown[:-1]] for shown in asked)
print("lm-eval", version("lm_eval"), "datasets", version("datasets"))
print(f"{own} of {len(prompts)} questions are shown with their answer; the first is asked as")
print(asked[0][-1])
Path("asked.json").write_text(json.dumps([own, [shown[-1] for shown in asked]]))
PY
for run in first second third; do
    echo "== $run run"
    venv/bin/python prompts.py 2> errors || { cat errors; exit 1; }
    mv asked.json "$run.json"
done
venv/bin/python - <<'PY'
import json
import sys

(leaks, first), (later, second), (last, third) = (json.load(open(f"{run}.json")) for run in ("first", "second", "third"))
moved = sum(a != b for a, b in zip(first, second))
print(f"questions whose choices stand in another order in the second run: {moved} of {len(first)}")
sys.exit(not (leaks > 0 and later == last == 0 and moved > len(first) / 2 and second == third))
PY
