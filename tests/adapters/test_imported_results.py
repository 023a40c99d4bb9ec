"""Results of lm-eval and lmms-eval as cells, from small files in their layouts."""

import json
import re

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.importing import Complete, ImportedCell, LeftOut, complete, read_results, store
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.store import RunDirectory

DATE = "2026-01-02T03-04-05.678901"


@pytest.fixture(scope="module")
def registry():
    return load_plugins(installed=()).registry


@pytest.fixture
def imported(registry):
    """Read paths, and make what can be imported complete."""

    def read(*paths):
        found = read_results(registry, paths)
        return [complete(one) if isinstance(one, ImportedCell) else one for one in found]

    return read


def lm_eval_content(results, *, samples, **changes):
    """What a results file says of tasks whose metrics are means."""
    content = {
        "results": {
            task: {"alias": task, "sample_len": samples, **metrics, "acc_stderr,none": "N/A"}
            for task, metrics in results.items()
        },
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "output_type": "multiple_choice",
                "metric_list": [{"metric": name.partition(",")[0]} for name in metrics],
            }
            for task, metrics in results.items()
        },
        "versions": dict.fromkeys(results, 1.0),
        "n-shot": dict.fromkeys(results, 0),
        "higher_is_better": {
            task: {name.partition(",")[0]: True for name in metrics} for task, metrics in results.items()
        },
        "n-samples": {task: {"original": samples, "effective": samples} for task in results},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "org/tiny", "peft": "adapters/a"},
            "limit": None,
            "random_seed": 0,
            "fewshot_seed": 1234,
        },
        "git_hash": None,
        "date": 1767323045.5,
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.23.0",
        "chat_template": None,
        "total_evaluation_time_seconds": "12.5",
        "model_name": "org/tiny",
    }
    return content | changes


def choice(number, right, target="1", passage="P", **changes):
    """A line of a multiple-choice task, with its numbers as texts."""
    said = [["-1.5", "False"], ["-0.5", "True"]]
    line = {
        "doc_id": number,
        "doc": {"question": f"q{number}", "passage": passage},
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": f"q{number}", "arg_1": " a"}, "gen_args_1": {"arg_0": f"q{number}"}},
        "resps": [[one] for one in said],
        "filtered_resps": said,
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": f"{number:064}",
        "acc": right,
    }
    return line | changes


def write_lm_eval(folder, content, lines):
    """Write a results file and the samples of its first task."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"results_{DATE}.json"
    results.write_text(json.dumps(content), encoding="utf-8")
    task = next(iter(content["results"]))
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return results


@pytest.fixture
def simple(tmp_path):
    """Four questions, three of them on one passage; one right of four."""
    lines = [choice(3, "True"), *(choice(n, 0.0, passage=f"P{n // 2}") for n in (2, 0, 1))]
    return write_lm_eval(tmp_path / "lm", lm_eval_content({"quiz": {"acc,none": 0.25}}, samples=4), lines)


class TestLmEval:
    def test_a_task_becomes_a_cell(self, imported, simple):
        (cell,) = imported(simple)
        result = cell.result
        assert str(result.cell.model) == "lm-eval:org/tiny(peft=adapters/a)"
        assert result.cell.task == "lm-eval:quiz"
        assert (result.task_card.rule, result.task_card.rule_version) == ("lm-eval acc,none", 1)
        assert result.task_card.metrics[0].model_dump() == {
            "name": "acc,none",
            "unit": "%",
            "better": "higher",
            "kind": "mean",
        }
        assert (result.metrics["acc,none"].value, result.samples, result.partial) == (0.25, 4, None)
        assert result.settings["tool_version"] == "0.4.13"
        assert cell.date == "2026-01-02T03:04:05+00:00"

    def test_the_texts_of_its_requests_are_shown(self, imported, simple):
        (cell,) = imported(simple)
        assert [item.load().text for item in cell.task.inputs][:2] == ["q0\n a", "q1\n a"]
        assert cell.task.samples[0].target == "1"

    def test_samples_are_in_the_order_of_their_numbers_and_texts_are_numbers(self, imported, simple):
        (cell,) = imported(simple)
        assert [record.sample for record in cell.records] == ["0", "1", "2", "3"]
        assert [record.scores for record in cell.records] == [{"acc,none": s} for s in (0, 0, 0, 1)]
        assert cell.records[0].output == [[-1.5, False], [-0.5, True]]
        assert cell.records[0].parsed == 1

    def test_questions_on_one_passage_are_a_group(self, imported, tmp_path):
        lines = [choice(n, 1, passage=p) for n, p in enumerate("aab")]
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=3)
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, lines))
        assert [record.group for record in cell.records] == ["a", "a", None]

    def test_two_models_are_asked_the_same(self, imported, simple, tmp_path):
        args = {"model": "hf", "model_args": "pretrained=org/other,dtype=float32", "random_seed": 0}
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=4, config=args)
        lines = [choice(n, 1, passage=f"P{n // 2}" if n < 3 else "P") for n in range(4)]
        one, other = imported(simple, write_lm_eval(tmp_path / "other", content, lines))
        assert one.result.samples_digest == other.result.samples_digest
        assert other.result.cell.model == "lm-eval:org/other(dtype=float32)"

    def test_other_prompts_are_other_samples(self, imported, simple, tmp_path):
        lines = [choice(n, n == 0, passage=f"P{n // 2}", arguments={"gen_args_0": {"arg_0": "!"}}) for n in range(4)]
        content = lm_eval_content({"quiz": {"acc,none": 0.25}}, samples=4)
        one, other = imported(simple, write_lm_eval(tmp_path / "other", content, lines))
        assert one.result.samples_digest != other.result.samples_digest

    def test_under_a_chat_template_the_document_is_what_is_asked(self, imported, tmp_path):
        def result(name, prompt):
            content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=1, chat_template="{{ messages }}")
            lines = [choice(0, 1, arguments={"gen_args_0": {"arg_0": prompt}})]
            return imported(write_lm_eval(tmp_path / name, content, lines))[0].result.samples_digest

        assert result("a", "<user>q") == result("b", "[INST]q")

    def test_each_filter_is_a_metric_and_what_it_does_not_find_is_unparsed(self, imported, tmp_path):
        results = {"sums": {"exact_match,strict": 0.0, "exact_match,loose": 0.5}}
        content = lm_eval_content(results, samples=2)
        content["configs"]["sums"] |= {"output_type": "generate_until", "metric_list": [{"metric": "exact_match"}]}
        lines = [
            {"doc_id": n, "target": "7", "filter": name, "resps": [[text]], "filtered_resps": [read], "exact_match": s}
            for n, text in enumerate(["it is 7", "who knows"])
            for name, read, s in (("strict", "[invalid]", 0.0), ("loose", text, 1.0 - n))
        ]
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, lines))
        assert list(cell.result.metrics) == ["exact_match,strict", "exact_match,loose"]
        assert cell.records[0].scores == {"exact_match,strict": 0.0, "exact_match,loose": 1.0}
        assert (cell.records[0].output, cell.records[0].parsed, cell.result.unparsed) == ("it is 7", None, 2)
        assert cell.result.task_card.capability == "generate"

    def test_a_metric_that_is_not_a_mean_is_kept_as_it_is_stated(self, imported, tmp_path):
        content = lm_eval_content({"quiz": {"acc,none": 0.5, "f1,none": 0.75}}, samples=2)
        content["configs"]["quiz"]["metric_list"][1]["aggregation"] = "f1"
        lines = [choice(n, n, f1=[n, 1]) for n in range(2)]
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, lines))
        assert cell.result.metrics["f1,none"].value == 0.75
        assert cell.result.metrics["f1,none"].low is None
        assert "f1,none is as lm-eval states it: not a mean over samples" in cell.result.notes

    def test_a_perplexity_alone_is_left_out_with_its_reason(self, imported, tmp_path):
        content = lm_eval_content({"text": {"word_perplexity,none": 1.2}}, samples=1)
        lines = [choice(0, None, word_perplexity=[-0.6, 3])]
        assert imported(write_lm_eval(tmp_path / "x", content, lines)) == [
            LeftOut(
                where=str(tmp_path / "x" / f"samples_text_{DATE}.jsonl"),
                task="text",
                reason="none of its metrics is a mean of numbers that its samples have",
            )
        ]

    @pytest.mark.parametrize("stated", [0.5, float("inf"), float("nan")])
    def test_another_mean_is_refused_and_both_numbers_are_named(self, imported, simple, stated):
        content = json.loads(simple.read_text())
        content["results"]["quiz"]["acc,none"] = stated
        simple.write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"acc,none of task quiz is {stated}, but the mean .* 4 samples is 0\.25"):
            imported(simple)

    def test_a_nan_is_a_sample_without_a_score(self, imported, tmp_path):
        content = lm_eval_content({"quiz": {"acc,none": float("nan")}}, samples=2)
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, [choice(0, 1.0), choice(1, float("nan"))]))
        assert (cell.result.unscored, cell.result.metrics["acc,none"].value) == (1, 1.0)
        assert any("states NaN as acc,none" in note for note in cell.result.notes)

    def test_less_is_better_where_it_says_so(self, imported, tmp_path):
        content = lm_eval_content({"quiz": {"acc,none": 0.5}}, samples=2, higher_is_better={"quiz": {"acc": False}})
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, [choice(0, 0.25), choice(1, 0.75)]))
        assert (cell.result.task_card.metrics[0].better, cell.result.task_card.metrics[0].unit) == ("lower", "")

    @pytest.mark.parametrize("stated", [{}, {"quiz": {"acc": None}}])
    def test_an_unknown_direction_is_noted(self, imported, tmp_path, stated):
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=1, higher_is_better=stated)
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, [choice(0, 1)]))
        assert "lm-eval does not say whether acc,none should be high or low: taken as high" in cell.result.notes

    @pytest.mark.parametrize(
        ("version", "rule"),
        [(2, ("lm-eval acc,none", 2)), ("Yaml", ("lm-eval acc,none Yaml", 1)), (0.5, ("lm-eval acc,none 0.5", 1))],
    )
    def test_the_rule_has_the_version_of_the_task(self, imported, tmp_path, version, rule):
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=1, versions={"quiz": version})
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, [choice(0, 1)]))
        assert (cell.result.task_card.rule, cell.result.task_card.rule_version) == rule

    def test_a_limit_is_partial_and_a_dummy_has_no_random_name(self, imported, tmp_path):
        config = {"model": "dummy", "model_args": {}, "limit": 1.0}
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=1, config=config, model_name="wxrd1574")
        (cell,) = imported(write_lm_eval(tmp_path / "x", content, [choice(0, 1)]))
        assert (cell.result.partial, cell.result.cell.model) == ("--limit 1.0", "lm-eval:dummy")

    def test_a_task_without_samples_is_left_out(self, imported, simple):
        next(simple.parent.glob("samples_*")).unlink()
        (left,) = imported(simple)
        assert left.reason == "no file of its samples is beside it: run with --log_samples"

    def test_samples_of_another_task_or_date_are_not_taken(self, imported, simple):
        (own,) = simple.parent.glob("samples_*")
        own.rename(own.with_name(f"samples_quiz_hard_{DATE}.jsonl"))
        assert isinstance(imported(simple)[0], LeftOut)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda text: text[:-30], "line 4: not JSON"),
            (lambda text: text + text, r"8 samples \(4 of them twice\), but the results state 4"),
            (lambda text: text[: text.index("\n") + 1], "1 samples, but the results state 4"),
            (lambda text: "[1]\n" + text, "line 1: not a sample"),
        ],
    )
    def test_damaged_samples_are_one_line(self, imported, simple, damage, message):
        (path,) = simple.parent.glob("samples_*")
        path.write_text(damage(path.read_text()))
        with pytest.raises(UserError, match=message):
            imported(simple)


def lmms_content(results, samples, **changes):
    content = lm_eval_content(results, samples=samples) | {
        "lmms_eval_version": "main@1a2b3c4d",
        "date": "20260102_030405",
        "start_time": 1234.5,
        "end_time": 1240.25,
        "config": {"model": "llava", "model_args": "pretrained=org/llava,conv_template=vicuna", "limit": None},
    }
    del content["lm_eval_version"]
    for config in content["configs"].values():
        config |= {"output_type": "generate_until", "lmms_eval_specific_kwargs": {"post_prompt": ""}}
    return content | changes


def write_lmms(folder, content, lines):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "20260102_030405_results.json"
    path.write_text(json.dumps(content))
    (folder / "20260102_030405_samples_vqa.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def seen(number, right, image="a.png", **changes):
    line = {
        "doc_id": number,
        "target": "yes",
        "filtered_resps": "Yes",
        "doc_hash": f"<PIL image at 0x{id(object()):x}>",
        "input": f"q{number}",
        "input_media": [image],
        "exact_match": right,
    }
    return line | changes


class TestLmmsEval:
    def test_a_task_becomes_a_cell(self, imported, tmp_path):
        lines = [seen(0, 1.0), seen(1, 0.0, "b.png", resps=["Hm, no"], filtered_resps="no"), seen(2, 0.5)]
        content = lmms_content({"vqa": {"exact_match,none": 0.5, "exact_match_stderr,none": "N/A"}}, 3)
        (cell,) = imported(write_lmms(tmp_path, content, lines))
        assert cell.result.cell.model_dump() == {
            "model": "lmms-eval:org/llava",
            "task": "lmms-eval:vqa",
            "budget": 1.0,
            "seed": 0,
        }
        assert [record.output for record in cell.records] == ["Yes", "Hm, no", "Yes"]
        assert [record.parsed for record in cell.records] == ["Yes", "no", "Yes"]
        assert len({record.group for record in cell.records}) == 2
        assert cell.records[0].group == cell.records[2].group
        assert cell.result.metrics["exact_match,none"].value == 0.5

    def test_its_date_is_not_the_time_since_the_machine_started(self, imported, tmp_path):
        content = lmms_content({"vqa": {"exact_match,none": 1.0}}, 1)
        (cell,) = imported(write_lmms(tmp_path, content, [seen(0, 1)]))
        assert cell.date == "2026-01-02T03:04:05"

    def test_the_hash_of_a_document_with_images_is_not_what_was_asked(self, imported, tmp_path):
        content = lmms_content({"vqa": {"exact_match,none": 1.0}}, 1)
        one, other = (
            imported(write_lmms(tmp_path / name, content, [seen(0, 1, doc_hash=name)]))[0].result for name in "ab"
        )
        assert one.samples_digest == other.samples_digest

    def test_of_an_appended_file_the_last_lines_count(self, imported, tmp_path):
        content = lmms_content({"vqa": {"exact_match,none": 1.0}}, 2)
        (cell,) = imported(write_lmms(tmp_path, content, [seen(0, 0), seen(1, 0), seen(0, 1), seen(1, 1)]))
        assert (cell.result.samples, cell.result.metrics["exact_match,none"].value) == (2, 1.0)
        assert "another run was appended" in cell.result.notes[0]

    def test_scores_that_are_objects_are_left_out(self, imported, tmp_path):
        content = lmms_content({"vqa": {"mme_score,none": 1500.0}}, 1)
        (left,) = imported(write_lmms(tmp_path, content, [seen(0, 0, mme_score={"score": 1})]))
        assert "none of its metrics is a mean" in left.reason


class TestRuns:
    def test_an_import_again_changes_nothing(self, imported, simple, tmp_path):
        def everything():
            return {path: path.read_bytes() for path in sorted(run.path.rglob("*")) if path.is_file()}

        run = RunDirectory(tmp_path / "run")
        assert list(store(run, imported(simple), "adaptbench import").values()) == [True]
        before = everything()
        assert list(store(run, imported(simple), "adaptbench import").values()) == [False]
        assert everything() == before
        assert run.manifest().created == "2026-01-02T03:04:05+00:00"

    def test_what_a_kill_left_is_completed(self, imported, simple, tmp_path):
        run, cells = RunDirectory(tmp_path / "run"), imported(simple)
        store(run, cells, "")
        (journal,) = run.journals()
        (journal.folder / "result.json").unlink()
        journal.path.write_bytes(journal.path.read_bytes()[:100])
        assert list(store(run, cells, "").values()) == [True]
        assert len(list(journal.records())) == 4
        journal.check()

    def test_another_result_of_the_same_model_and_task_is_refused(self, imported, simple, tmp_path):
        run = RunDirectory(tmp_path / "run")
        store(run, imported(simple), "")
        content = json.loads(simple.read_text()) | {"lm_eval_version": "0.4.12"}
        simple.write_text(json.dumps(content))
        with pytest.raises(UserError, match="there are two results of lm-eval:org/tiny"):
            store(run, imported(simple), "")

    def test_hostile_texts_are_stored_as_they_are(self, imported, tmp_path):
        said = "<script>\x00\udc80\N{RIGHT-TO-LEFT OVERRIDE}=1+1"
        content = lm_eval_content({"quiz": {"acc,none": 1.0}}, samples=1)
        content["configs"]["quiz"]["output_type"] = "generate_until"
        content["config"]["model_args"]["pretrained"] = 'a"b(c)+d@0.5 <b>'
        path = write_lm_eval(tmp_path / "x", content, [choice(0, 1, resps=[[said]], filtered_resps=[said])])
        run = RunDirectory(tmp_path / "run")
        store(run, imported(path), "")
        (journal,) = run.journals()
        assert next(journal.records()).output == said
        assert '"a\\"b(c)+d@0.5 <b>"' in journal.result().cell.model

    def test_a_folder_is_searched_and_other_files_in_it_are_not_read(self, imported, simple):
        (simple.parent / "config.json").write_text('{"results": 1}')
        (simple.parent / "notes.txt").write_text("no result")
        assert [type(one) for one in imported(simple.parent.parent)] == [Complete]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ('{"results": 1}', "not a result file of inspect_ai, lm-eval, lmms-eval"),
            ("", "not JSON"),
        ],
    )
    def test_a_file_of_another_kind_is_one_line(self, imported, tmp_path, content, message):
        path = tmp_path / "results.json"
        path.write_text(content)
        with pytest.raises(UserError, match=re.escape(message)):
            imported(path)
