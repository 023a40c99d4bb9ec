"""No output of a model, whatever it is, stops the scoring; and where the questions may come from."""

import datasets
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.summary import checked_scores
from adaptbench.tasks.multimodal import llava_bench, mmbench, mme, mmvet, pope, scienceqa, seed
from adaptbench.tasks.multimodal.judged import JudgedQuestions
from adaptbench.tasks.multimodal.local import opened
from adaptbench.tasks.multimodal.question import Question
from adaptbench.tasks.multimodal.tables import Table
from hypothesis import given
from hypothesis import strategies as st

YES_NO = [Question("1", "Is it?", None, "yes", subsets={"split": "random", "answer": "yes", "category": "OCR"})]
PAIR = [Question(f"q{n}", "Is it?", None, answer, sample="s") for n, answer in enumerate(("yes", "no"))]
CHOICE = [Question("1", "Which?", None, "B", options=("cat", "dog"))]
PASSES = [
    Question(f"q{n}", "Which?", None, letter, options=("cat", "dog"), sample="s") for n, letter in enumerate("AB")
]
TASKS = [
    benchmark.task(questions, rule.name)
    for benchmark, questions in (
        (pope.BENCHMARK, YES_NO),
        (mme.BENCHMARK, PAIR),
        (scienceqa.BENCHMARK, CHOICE),
        (seed.BENCHMARK, CHOICE),
        (mmbench.BENCHMARK, PASSES),
    )
    for rule in benchmark.rules
] + [
    JudgedQuestions(benchmark, [Question("1", "What?", None, "x")], rule.name, lambda _, answer: [answer])
    for benchmark in (mmvet.BENCHMARK, llava_bench.BENCHMARK)
    for rule in benchmark.rules
]

said = st.one_of(st.text(), st.sampled_from(["Yes", "no.", "A", "B", "0.5", "8 9", "nan inf", "1e999 1"]))
json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), said),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["answer", "verdicts"]), inner)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.benchmark.name}-{task.rule.name}")
@given(output=st.one_of(said, st.lists(said, min_size=2, max_size=2), json))
def test_scoring_is_total(task, output):
    [sample] = task.samples
    parsed = task.parse(sample, output)
    scores = checked_scores(task.card, sample.id, task.score(sample, parsed))
    if isinstance(task, JudgedQuestions):
        assert (scores is None) == (parsed is None)
    else:
        assert scores["accuracy"] in (0, 0.5, 1)
        assert parsed is not None or scores["accuracy"] == 0


def test_every_rule_is_on_the_card():
    for task in TASKS:
        assert task.card.rule == task.rule.name
        assert next(iter(task.card.rules)) == "official"


def rows(path, split="test"):
    datasets.Dataset.from_dict({"x": [1, 2]}).to_parquet(str(path / f"{split}-00000-of-00001.parquet"))


def test_questions_come_from_a_copy_of_the_hub_a_saved_data_set_or_official_files(tmp_path):
    copy = tmp_path / "copy"
    for config in ("en", "cn"):
        (copy / config).mkdir(parents=True)
        rows(copy / config)
    assert isinstance(opened(str(copy), "x/y", "test", "cn"), Table)
    both = datasets.DatasetDict({name: datasets.Dataset.from_dict({"x": [1]}) for name in ("dev", "test")})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(opened(str(tmp_path / "both"), "x/y", "dev")) == 1
    both["dev"].save_to_disk(str(tmp_path / "one"))
    assert len(opened(str(tmp_path / "one"), "x/y", "dev")) == 1
    (tmp_path / "official").mkdir()
    assert opened(str(tmp_path / "official"), "x/y", "dev") == tmp_path / "official"
    with pytest.raises(UserError, match="nowhere: no such file or folder; check annotations="):
        opened(str(tmp_path / "nowhere"), "x/y", "dev")
