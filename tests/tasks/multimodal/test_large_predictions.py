"""Files of predictions are read row by row: what is about no question of the task is not kept."""

import json
import tracemalloc

import pytest
from adaptbench import Input, Sample, Task, TaskCard
from adaptbench.harness.predictions import predictions_for
from adaptbench.tasks.multimodal.gqa import gqa_task
from adaptbench.tasks.multimodal.pope import pope_task
from adaptbench.tasks.multimodal.scienceqa import scienceqa_task

ROWS, LONG = 300, "x" * 10_000


class One(Task):
    card = TaskCard(capability="generate")
    inputs = (Input("0", lambda: None),)
    samples = (Sample("1", (0,)),)


def pope(folder):
    label = {"question_id": 1, "text": "Is there a cat?", "label": "yes"}
    (folder / "coco_pope_random.json").write_text(json.dumps([label]))
    return pope_task(str(folder))


def scienceqa(folder):
    problem = {"question": "What?", "choices": ["a", "b"], "answer": 0, "split": "test"}
    (folder / "problems.json").write_text(json.dumps({"1": problem}))
    return scienceqa_task(str(folder / "problems.json"), part="full")


def gqa(folder):
    (folder / "gqa.json").write_text(json.dumps({"1": {"imageId": "a", "question": "What?", "answer": "yes"}}))
    return gqa_task(str(folder / "gqa.json"))


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        (lambda _: One(), "sample", "output"),
        (pope, "question_id", "text"),
        (scienceqa, "question_id", "text"),
        (gqa, "question_id", "text"),
    ],
)
def test_rows_are_not_in_memory_together(tmp_path, task, name, said):
    made, path = task(tmp_path), tmp_path / "said.jsonl"
    with path.open("w") as file:
        for row in range(1, ROWS + 1):
            file.write(json.dumps({name: str(row), said: f"yes {LONG}"}) + "\n")
    tracemalloc.start()
    try:
        found = predictions_for(made, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(found.outputs), len(found.unmatched)) == (1, ROWS - 1)
    assert peak < 0.2 * path.stat().st_size
