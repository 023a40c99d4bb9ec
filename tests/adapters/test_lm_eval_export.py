"""Our tasks as lm-eval's: the same prompts, and of the same answers the same scores."""

from __future__ import annotations

from types import SimpleNamespace

import adaptbench
import lm_eval
import numpy as np
import pytest
from adaptbench.adapters import lm_eval_export
from adaptbench.adapters.lm_eval_export import ExportedTask, export
from adaptbench.harness.contracts import Input, Prompt, Sample
from adaptbench.harness.errors import UserError
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

SPEC = "logical-gh(k=2,queries=6,replications=1,setting=all)"
NAME = "adaptbench_logical-gh_k_2_queries_6_replications_1_setting_all"


def half_right(text):
    """An answer that depends on the prompt alone, some of whose words are right by chance."""
    words = text.rpartition("input:")[2].partition("\n")[0].split()
    return " ".join(words[: 1 + len(text) % len(words)]) + " \nand more"


class Scripted(LM):
    """lm-eval's side of `half_right`."""

    tokenizer_name = "scripted"

    def __init__(self):
        super().__init__()
        self.asked = []

    def generate_until(self, requests):
        self.asked += [request.args for request in requests]
        return [half_right(request.args[0]) for request in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def apply_chat_template(self, history, add_generation_prompt=True):
        return f"<{history[0]['content']}>" if add_generation_prompt else ""


def test_prompts_and_scores_are_the_same(tmp_path):
    path = export(SPEC, tmp_path / "tasks")
    assert path == tmp_path / "tasks" / f"{NAME}.yaml"
    manager = TaskManager(include_path=str(path.parent), include_defaults=False)
    theirs = Scripted()
    found = lm_eval.simple_evaluate(model=theirs, tasks=[NAME], task_manager=manager, bootstrap_iters=0)["results"][
        NAME
    ]

    prompts = []

    def generate(some):
        prompts.extend(some)
        return [half_right(prompt.text) for prompt in some]

    ours = adaptbench.run(SimpleNamespace(generate=generate), SPEC, out=tmp_path / "run").to_pandas()
    wanted = {"until": ["\n"], "max_gen_toks": 20, "do_sample": False}
    assert theirs.asked == [(prompt.text, wanted) for prompt in prompts]
    assert {row.metric: row.value for row in ours.itertuples()} == {
        metric.removesuffix(",none"): pytest.approx(value)
        for metric, value in found.items()
        if metric.endswith(",none") and "stderr" not in metric
    }
    assert 0 < found["word match,none"] < 1


def test_objects_need_no_file(tmp_path):
    task = ExportedTask.of(SPEC, "mine")
    theirs = Scripted()
    found = lm_eval.simple_evaluate(
        model=theirs,
        tasks=[task],
        bootstrap_iters=0,
        limit=3,
        apply_chat_template=True,
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
    )
    assert found["results"]["mine"]["sample_len"] == 3
    assert all(text.startswith("<input:") and text.endswith("output:>") for text, _ in theirs.asked)
    assert found["higher_is_better"]["mine"]["word match"]
    assert not found["higher_is_better"]["mine"]["copied"]


class Toy:
    """Two questions in a sample, one sample that cannot be scored, and a metric that is not a mean."""

    card = adaptbench.TaskCard(
        capability="generate",
        metrics=(adaptbench.Metric(name="right"), adaptbench.Metric(name="spread", kind="derived")),
    )

    def __init__(self):
        self.inputs = [Input(str(n), lambda n=n: Prompt(f"{n}")) for n in range(6)]
        self.samples = [Sample(f"s{n}", [2 * n, 2 * n + 1], n, subsets={"side": "ab"[n % 2]}) for n in range(3)]

    def outputs(self, samples, answers):
        return [[answers[i] for i in sample.inputs] for sample in samples]

    def parse(self, _, output):
        return output

    def score(self, sample, parsed):
        return None if sample.id == "s2" else {"right": float(parsed == ["0", "1"])}

    def aggregate(self, scores):
        assert list(scores.ids) == ["s0", "s1"]
        assert list(scores.subsets["side"]) == ["a", "b"]
        return {"spread": float(np.std(scores.values["right"]))}


def test_samples_with_several_inputs_and_derived_figures(monkeypatch, tmp_path):
    monkeypatch.setattr(lm_eval_export, "_built", lambda _: Toy())
    task = ExportedTask.of("toy")
    model = Scripted()
    model.generate_until = lambda requests: [request.args[0] for request in requests]
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=manager, bootstrap_iters=0)
    assert found["results"]["adaptbench_toy"]["right,none"] == 0.5
    assert found["results"]["adaptbench_toy"]["spread,none"] == 0.5


CHOICES = "shapes-choice(scenes=3)"


def first_option(text):
    return "B." if len(text) % 2 else "A"


def test_multiple_choice_on_images(tmp_path):
    class Seeing(Scripted):
        MULTIMODAL = True

        def generate_until(self, requests):
            self.asked += [request.args for request in requests]
            return [first_option(request.args[0].removeprefix("<image>\n")) for request in requests]

    manager = TaskManager(include_path=str(export(CHOICES, tmp_path, "choices").parent), include_defaults=False)
    theirs, ours = Seeing(), []
    found = lm_eval.simple_evaluate(model=theirs, tasks=["choices"], task_manager=manager, bootstrap_iters=0)

    def generate(some):
        ours.extend(some)
        return [first_option(prompt.text) for prompt in some]

    table = adaptbench.run(SimpleNamespace(generate=generate), CHOICES, out=tmp_path / "run").to_pandas()
    assert len(theirs.asked) == len(ours) > 4
    for (text, wanted, shown), prompt in zip(theirs.asked, ours, strict=True):
        assert text == f"<image>\n{prompt.text}"
        assert wanted["max_gen_toks"] == prompt.max_new_tokens
        assert [one.tobytes() for one in shown["visual"]] == [one.tobytes() for one in prompt.images]
    for row in table.itertuples():
        assert found["results"]["choices"][f"{row.metric},none"] == pytest.approx(row.value)
    with pytest.raises(ValueError, match="choices"):
        lm_eval.simple_evaluate(model=Scripted(), tasks=["choices"], task_manager=manager, bootstrap_iters=0)


def test_what_lm_eval_cannot_run_is_told(tmp_path):
    with pytest.raises(UserError, match="it needs embed"):
        export("glyphs-5way-1shot", tmp_path)
    with pytest.raises(UserError, match="unknown task"):
        export("logical-xy", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write it"):
        export(SPEC, tmp_path / "file")
    with pytest.raises(UserError, match="its prompts have their demonstrations"):
        ExportedTask.of(SPEC).fewshot_context({"prompts": []}, 3)
