"""Logs of inspect_ai as cells, from small logs in its layout."""

import copy
import json
import struct
import zipfile
import zlib

import pytest
from adaptbench.adapters.inspect_logs import read_inspect
from adaptbench.harness.errors import UserError
from adaptbench.harness.importing import LeftOut, ResultFile, complete


def sample(name, value, epoch=1, said="Paris", **changes):
    return {
        "id": name,
        "epoch": epoch,
        "input": [{"id": f"random-{epoch}", "role": "user", "content": f"question {name}"}],
        "choices": ["Paris", "Rome"],
        "target": "A",
        "output": {"choices": [{"message": {"content": [{"type": "text", "text": said}]}}]},
        "scores": {"choice": {"value": value, "answer": "A" if value == "C" else None}},
    } | changes


def log(samples, accuracy, *, metric="accuracy", reducer=None, epochs=1, **changes):
    score = {
        "name": "choice",
        "scorer": "choice",
        "reducer": reducer,
        "params": {},
        "metrics": {metric: {"name": metric, "value": accuracy}, "stderr": {"name": "stderr", "value": 0.1}},
    }
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": "2026-01-02T03:04:05+00:00",
            "task": "inspect_evals/capitals",
            "task_version": 2,
            "model": "mockllm/model",
            "model_args": {"peft": "adapters/a", "custom_outputs": [1]},
            "config": {"epochs": epochs, "limit": None},
            "packages": {"inspect_ai": "0.3.285"},
        },
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": [score]},
        "stats": {"started_at": "2026-01-02T03:04:06+00:00"},
        "samples": samples,
    } | changes


@pytest.fixture
def imported(tmp_path):
    """Write a log as JSON, and make its cell complete."""

    def read(content, name="log.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        (cell,) = read_inspect(ResultFile(path))
        return cell if isinstance(cell, LeftOut) else complete(cell)

    return read


def test_a_log_becomes_a_cell(imported):
    cell = imported(log([sample(10, "I", said="Rome"), sample(9, "C"), sample("a/b", "P")], 0.5))
    result = cell.result
    assert result.cell.model == "inspect_ai:mockllm/model(peft=adapters/a)"
    assert result.cell.task == "inspect_ai:inspect_evals/capitals"
    assert (result.task_card.rule, result.task_card.rule_version) == ("inspect_ai choice/accuracy", 2)
    assert (result.metrics["choice/accuracy"].value, result.samples) == (0.5, 3)
    assert [(r.sample, r.output, r.parsed) for r in cell.records] == [
        ("9", "Paris", "A"),
        ("10", "Rome", None),
        ("a/b", "Paris", None),
    ]
    assert cell.date == "2026-01-02T03:04:05+00:00"
    assert cell.task.inputs[0].load().text.splitlines()[0] == "question 9"


def test_ids_of_messages_are_not_what_was_asked(imported):
    other = sample(1, "C", input=[{"id": "another", "role": "user", "content": "question 1"}])
    one, two = (imported(log([each], 1.0)).result for each in (sample(1, "C"), other))
    assert one.samples_digest == two.samples_digest


def test_a_sample_is_scored_with_its_epochs(imported):
    samples = [sample(n, v, e) for n, row in ((1, "CI"), (2, "CC")) for e, v in enumerate(row, 1)]
    cell = imported(log(samples, 0.75, reducer="mean", epochs=2))
    assert [record.scores for record in cell.records] == [{"choice/accuracy": 0.5}, {"choice/accuracy": 1.0}]
    assert cell.records[0].output == ["Paris", "Paris"]
    assert cell.records[0].parsed == ["A", None]


def test_what_another_reducer_made_of_epochs_is_taken_from_the_log(imported):
    samples = [sample(n, v, e) for n, row in ((1, "CI"), (2, "II")) for e, v in enumerate(row, 1)]
    made = [{"sample_id": 1, "value": 1.0}, {"sample_id": 2, "value": 0.0}]
    reductions = [{"scorer": "choice", "reducer": "max", "samples": made}]
    cell = imported(log(samples, 0.5, reducer="max", epochs=2, reductions=reductions))
    assert cell.result.metrics["choice/max/accuracy"].value == 0.5


def test_nan_leaves_the_mean(imported):
    samples = [sample(1, float("nan")), sample(2, 0.5), sample(3, 1)]
    cell = imported(log(samples, 0.75, metric="mean"))
    assert (cell.result.unscored, cell.result.metrics["choice/mean"].value) == (1, 0.75)
    assert "inspect_ai does not say whether choice/mean should be high or low: taken as high" in cell.result.notes


@pytest.mark.parametrize(
    ("value", "number"), [("yes", 1), ("TRUE", 1), ("no", 0), ("N", 0), ("0.25", 0.25), (True, 1), ("what", 0)]
)
def test_texts_are_numbers_as_inspect_counts_them(imported, value, number):
    assert imported(log([sample(1, value)], number)).records[0].scores == {"choice/accuracy": number}


def test_a_score_of_several_values_is_several_metrics(imported):
    content = log([sample(1, {"tone": 1, "form": 0}), sample(2, {"tone": 0, "form": 0})], 0.5)
    (score,) = content["results"]["scores"]
    other = copy.deepcopy(score) | {"name": "form"}
    other["metrics"]["accuracy"]["value"] = 0.0
    content["results"]["scores"] = [score | {"name": "tone"}, other]
    metrics = imported(content).result.metrics
    assert {name: estimate.value for name, estimate in metrics.items()} == {"tone/accuracy": 0.5, "form/accuracy": 0.0}


def test_another_mean_is_refused_and_both_numbers_are_named(imported):
    with pytest.raises(UserError, match=r"choice/accuracy of task inspect_evals/capitals is 0\.9, but .* is 0\.5"):
        imported(log([sample(1, "C"), sample(2, "I")], 0.9))


def test_a_metric_of_its_own_is_kept_as_it_is_stated(imported):
    content = log([sample(1, "C"), sample(2, "I")], 0.5)
    content["results"]["scores"][0]["metrics"]["median_of_three"] = {"value": 0.9}
    result = imported(content).result
    assert result.metrics["choice/median_of_three"].value == 0.9
    assert "choice/median_of_three is as inspect_ai states it: not the mean over samples, which is 0.5" in result.notes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "error", "results": None}, "its status is error"),
        ({"samples": None}, "it logs no samples"),
    ],
)
def test_what_cannot_be_imported_is_left_out(imported, changes, reason):
    assert reason in imported(log([sample(1, "C")], 1.0) | changes).reason


def test_a_limit_is_partial(imported):
    content = log([sample(1, "C")], 1.0)
    content["eval"]["config"]["limit"] = 1
    assert imported(content).result.partial == "--limit 1"


def write_archive(path, content, *, compress=None, damage=b""):
    """Write a log as an archive: by deflate, or by another method that `zipfile` does not know."""
    content = copy.deepcopy(content)
    samples = content.pop("samples")
    members = {f"samples/{one['id']}_epoch_{one['epoch']}.json": one for one in samples} | {"header.json": content}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if compress else zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            data = json.dumps(value).encode()
            archive.writestr(name, compress(data) if compress else data)
    if not compress:
        return
    raw = bytearray(path.read_bytes())
    for name, value in members.items():  # both headers of a member say by what it is compressed, and what it holds
        data = json.dumps(value).encode()
        for mark, method, checksum in ((b"PK\x03\x04", 8, 14), (b"PK\x01\x02", 10, 16)):
            start, size = -1, 30 if mark == b"PK\x03\x04" else 46
            while (start := raw.index(mark, start + 1)) >= 0:
                if raw[start + size : start + size + len(name)] == name.encode():
                    break
            raw[start + method : start + method + 2] = struct.pack("<H", 93)
            raw[start + checksum : start + checksum + 4] = struct.pack("<L", zlib.crc32(data))
            raw[start + checksum + 8 : start + checksum + 12] = struct.pack("<L", len(data))
    if damage:
        raw = raw.replace(damage, bytes(len(damage)), 1)
    path.write_bytes(raw)


CONTENT = log([sample("a/b", "C"), sample(2, "I")], 0.5)


def read_archive(path):
    (cell,) = read_inspect(ResultFile(path))
    return complete(cell)


def test_an_archive_says_what_its_json_says(imported, tmp_path):
    write_archive(tmp_path / "log.eval", CONTENT)
    assert read_archive(tmp_path / "log.eval").records == imported(CONTENT).records


def test_an_archive_of_zstandard_members_is_read(imported, tmp_path):
    zstandard = pytest.importorskip("zstandard")
    write_archive(tmp_path / "log.eval", CONTENT, compress=zstandard.ZstdCompressor().compress)
    assert read_archive(tmp_path / "log.eval").records == imported(CONTENT).records


def test_a_damaged_zstandard_member_is_one_line(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor().compress(json.dumps(CONTENT["samples"][1]).encode())
    write_archive(tmp_path / "log.eval", CONTENT, compress=zstandard.ZstdCompressor().compress, damage=frame[10:30])
    with pytest.raises(UserError, match="damaged archive"):
        read_archive(tmp_path / "log.eval")


def test_a_cut_archive_is_one_line(tmp_path):
    path = tmp_path / "log.eval"
    write_archive(path, CONTENT)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged archive"):
        read_archive(path)


def test_another_archive_is_not_a_log(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    assert read_inspect(ResultFile(path)) is None
