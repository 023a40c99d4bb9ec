"""lm-eval's tasks as ours: the scores of ``lm_eval.simple_evaluate``, with our records, costs and intervals."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import adaptbench
import pytest
from adaptbench.adapters.lm_eval_tasks import LmEvalTask
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.costs import Costs
from adaptbench.harness.errors import UserError
from adaptbench.harness.identity import Settings
from adaptbench.harness.predictions import predictions_for

TASKS = ("toy-choice", "toy-cloze", "toy-f1", "toy-text", "toy-filters", "toy-rolling")


class Theirs:
    """A plugin that registers lm-eval's tasks under another name than the built-in one."""

    name = "theirs"

    @adaptbench.hookimpl
    def register(self, registry):
        card = adaptbench.TaskCard(capability="language", by_arguments=True)
        registry.task("theirs", "adaptbench.adapters.lm_eval_tasks:LmEvalTask", card=card)


@pytest.fixture(scope="module")
def toy(toy_tasks):
    def build(name, **arguments):
        task = LmEvalTask(name, include=str(toy_tasks), **arguments)
        task.name = name
        return task

    return build


@pytest.fixture(scope="module")
def llama(language):
    return HFCausalLM(str(language("llama")))


@pytest.fixture(scope="module")
def ours(toy, llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Costs, "time", lambda *_: None)  # what is timed is of other tests
        return adaptbench.run(llama, [toy(name) for name in TASKS], out=folder, settings=Settings(batch_size=4))


def test_the_scores_are_those_of_lm_eval(ours, lm_evals):
    theirs = lm_evals(*TASKS)["results"]
    table = ours.to_pandas()
    for name in TASKS:
        found = {row.metric: row.value for row in table[table.task == name].itertuples()}
        for metric, value in theirs[name].items():
            if "," in metric and "stderr" not in metric:
                assert found.pop(metric.removesuffix(",none")) == pytest.approx(value, rel=1e-4), metric
        assert list(found) == (["loglikelihood"] if name == "toy-rolling" else [])


def test_records_hold_answers_scores_and_costs(ours, toy):
    [result] = [result for result in ours.results if result.cell.task == "toy-choice"]
    assert result.samples == 8
    assert result.task_card.capability == "language"
    assert result.task_card.chance == pytest.approx(1 / 3)
    assert result.task_card.rule.startswith("lm-eval 0.4")
    assert result.flops.value > 0
    assert result.costs["text_tokens"].value > 3 * len("Q: What is a cat?\nA: an animal")
    estimate = result.metrics["acc"]
    assert estimate.low < estimate.value < estimate.high
    output = [[-3.0, False], [-2.0, False], [-1.5, True]]
    task = toy("toy-choice")
    parsed = task.parse(task.samples[0], output)
    assert parsed == {"acc": float(task.samples[0].target == 2), "acc_norm": float(task.samples[0].target == 2)}
    assert task.parse(task.samples[0], output[:2]) is None
    assert task.parse(task.samples[0], ["a", "b", "c"]) is None
    assert task.score(task.samples[0], None) is None


def test_a_spec_names_task_folder_and_shots(toy_tasks, language, tmp_path, llama):
    spec = f'theirs:toy-choice(include="{toy_tasks}",shots=2)'
    result = adaptbench.run(llama, spec, out=tmp_path, plugins=[Theirs()], limit=3).to_pandas()
    assert set(result.metric) == {"acc", "acc_norm"}
    with pytest.raises(UserError, match=r"toy-sampled.*decoding is greedy"):
        adaptbench.run(llama, f'theirs:toy-sampled(include="{toy_tasks}")', out=tmp_path, plugins=[Theirs()])
    generates = SimpleNamespace(generate=lambda prompts: ["" for _ in prompts])
    with pytest.raises(UserError, match="the task needs language, the model has generate"):
        adaptbench.run(generates, spec, out=tmp_path, plugins=[Theirs()])


def test_demonstrations_are_lm_evals(toy, lm_evals):
    theirs = lm_evals("toy-choice", num_fewshot=2)["samples"]["toy-choice"]
    task = toy("toy-choice", shots=2)
    assert [task.inputs[s.inputs[0]].load() for s in task.samples] == [sample["arguments"][0] for sample in theirs]
    assert task.inputs[0].load() != toy("toy-choice").inputs[0].load()


@pytest.mark.parametrize("name", ["toy-choice", "toy-text", "toy-rolling"])
def test_what_lm_eval_logged_is_read(toy, lm_evals, tmp_path, name):
    from lm_eval.loggers import EvaluationTracker

    theirs = lm_evals(name)
    expected = {metric.removesuffix(",none"): value for metric, value in theirs["results"][name].items()}
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.model_name_sanitized, tracker.date_id = "model", "today"
    tracker.save_results_samples(name, theirs["samples"][name])
    [path] = tmp_path.rglob("samples_*.jsonl")
    task = toy(name)
    found = predictions_for(task, path)
    assert set(found.outputs) == {sample.id for sample in task.samples}
    first = task.card.metrics[0].name
    values = [task.score(s, task.parse(s, found.outputs[s.id]))[first] for s in task.samples]
    if first in expected:
        assert sum(values) / len(values) == pytest.approx(expected[first])
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"prompt_hash": "another prompt's"}))
    with pytest.raises(UserError, match="none of its 1 outputs"):
        predictions_for(task, path)
    path.write_text(json.dumps(row | {"resps": 7}))
    with pytest.raises(UserError, match="line 1: its field resps"):
        predictions_for(task, path)
    for text, why in (("{", "not JSON"), ("[]", "not an object")):
        path.write_text(text)
        with pytest.raises(UserError, match=why):
            predictions_for(task, path)


def test_any_object_with_log_likelihoods_is_asked(toy, tmp_path):
    plain = SimpleNamespace(loglikelihood=lambda pairs: [(-float(len(text)), False) for _, text in pairs])
    [result] = adaptbench.run(plain, toy("toy-choice"), out=tmp_path / "plain", limit=4).results
    task = toy("toy-choice")
    assert result.metrics["acc"].value == sum(sample.target == 1 for sample in task.samples[:4]) / 4  # the shortest
    assert result.flops is None
    assert result.costs == {}
    silent = SimpleNamespace(loglikelihood=lambda pairs: [], name="silent")
    with pytest.raises(UserError, match="returned 0 log-likelihoods for 12 pairs"):
        adaptbench.run(silent, toy("toy-choice"), out=tmp_path / "silent", limit=4)


def test_what_cannot_be_run_is_told(toy):
    with pytest.raises(UserError, match="it is a group: toy-choice, toy-text"):
        toy("toy-group")
    with pytest.raises(UserError, match="decoding is greedy"):
        _ = toy("toy-sampled").inputs


def test_loading_leaves_the_callers_random_numbers_alone(toy):
    random.seed(7)
    before = random.getstate()
    toy("toy-choice", fewshot_seed=99)
    assert random.getstate() == before
