"""What is timed of a cell is its first batch, from loaded inputs to answers."""

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.gate.workload import planned, workload
from adaptbench.harness.identity import Settings
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.results import CellId


@pytest.fixture
def registry(toys):
    return load_plugins([toys]).registry


@pytest.mark.parametrize(
    ("model", "task", "call"), [("toy-vectors", "toy-images", "embed"), ("toy-adder", "toy-words", "generate")]
)
def test_a_call_answers_one_batch(registry, toys, model, task, call):
    ask = workload(planned(registry, CellId(model=model, task=task)), Settings(batch_size=16))
    assert toys.CALLS == []
    ask()
    ask()
    assert [(call, 16)] * 2 == toys.CALLS


def test_stored_answers_take_no_time(registry):
    with pytest.raises(UserError, match="nothing to time"):
        workload(planned(registry, CellId(model="replay:x.jsonl", task="toy-words")), Settings())


def test_an_unknown_cell_is_one_of_this_side(registry):
    with pytest.raises(UserError, match="unknown model 'toy-vectros'"):
        planned(registry, CellId(model="toy-vectros", task="toy-images"))
