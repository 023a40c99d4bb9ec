import json
import math
import multiprocessing
from fractions import Fraction

import pytest
from adaptbench import Metric, ModelCard, Record, TaskCard, UserError
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.prefill_cost import LanguageFlops, PrefillCost, Units
from adaptbench.harness.results import CellId, CellResult, Timing
from adaptbench.harness.store import Journal
from hypothesis import given, settings
from hypothesis import strategies as st

FORK = multiprocessing.get_context("fork")


def record(number, **fields):
    return Record(**{"sample": f"s{number}", "input": "ab", "output": [number, "ü"], "parsed": number} | fields)


def result(journal, **fields):
    card = TaskCard(capability="embed", metrics=(Metric(name="accuracy"),))
    defaults = {
        "key": "k", "cell": CellId(model="m", task="t"), "model_card": ModelCard(capabilities=("embed",)),
        "task_card": card, "samples_digest": "d", "samples": 2, "unscored": 0, "unparsed": 0, "partial": None,
        "metrics": {}, "flops": None, "settings": {}, "records_sha256": journal.digest(),
    }  # fmt: skip
    return CellResult(**defaults | fields)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "cells" / "key")
    journal.folder.mkdir(parents=True)
    return journal


TEXT = st.text(st.characters(codec=None), max_size=8)
OUTPUTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(st.builds(record, st.integers(0, 9), output=OUTPUTS, parsed=OUTPUTS, sample=TEXT), max_size=4))
def test_records_are_read_as_they_were_written_whatever_text_they_hold(tmp_path_factory, records):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    journal.append(records)
    if not any(_joins(r.output) or _joins(r.parsed) or _joins(r.sample) for r in records):
        assert list(journal.records()) == records
    assert len(list(journal.records())) == len(records)
    assert journal.path.read_bytes().count(b"\n") == len(records)


def _joins(value):
    """Whether it holds two surrogates side by side, which JSON reads as one character."""
    return json.loads(json.dumps(value)) != value


LAYERS = st.builds(
    LayerWork, st.integers(0, 9), st.integers(1, 99), st.integers(0, 9), st.fractions(0, 1, max_denominator=352)
)
COSTS = st.builds(
    PrefillCost,
    *(st.integers(0, 99),) * 3,
    st.none() | st.integers(0),
    st.none() | st.builds(LanguageFlops, *(st.integers(0),) * 3),
    st.none() | st.builds(Units, st.integers(0, 9), st.integers(0, 9)),
    st.none() | st.builds(Execution, st.lists(LAYERS, max_size=3).map(tuple)),
    st.integers(0, 99),
)


@settings(deadline=None)
@given(st.lists(COSTS, max_size=3))
def test_costs_are_read_as_they_were_written_exactly(tmp_path_factory, costs):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    journal.append([record(0, costs=tuple(costs))])
    assert list(journal.records()) == [record(0, costs=tuple(costs))]


def test_a_cost_is_written_in_few_numbers(journal):
    ran = Execution((LayerWork(0, 84, 4), LayerWork(2, 52, 2, Fraction(17, 48))))
    journal.append([record(0, costs=(PrefillCost(20, 64, flops=0, units=Units(3, 4), ran=ran), PrefillCost()))])
    stored = {"text_tokens": 20, "visual_tokens": 64, "flops": 0, "units": [3, 4]}
    stored["ran"] = [[0, 84, 4, 1, 1], [2, 52, 2, 17, 48]]
    assert json.loads(journal.path.read_text("utf-8"))["costs"] == [stored, {}]


@pytest.mark.parametrize("cost", [{"tokens": 1}, {"units": [1]}, {"ran": [[0, 9, 4, 1.0]]}, {"ran": 7}, 3])
def test_a_cost_of_another_version_is_named(journal, cost):
    import zlib

    journal.append([record(1, costs=(PrefillCost(),))])
    body = journal.path.read_bytes().replace(b"[{}]", json.dumps([cost]).encode())[:-21]
    journal.path.write_bytes(body + b',"check":"%08x"}\n' % zlib.crc32(body))
    with pytest.raises(UserError, match="line 1 is not a record"):
        list(journal.records())


def test_a_line_is_json_that_other_programs_can_read(journal):
    journal.append([record(1, scores={"a": 0.5}, costs=(PrefillCost(flops=3),))])
    line = json.loads(journal.path.read_text(encoding="utf-8"))
    assert line.pop("check")
    assert line == {
        "sample": "s1", "input": "ab", "output": [1, "ü"], "parsed": 1, "scores": {"a": 0.5}, "costs": [{"flops": 3}],
        "group": None, "fault": "",
    }  # fmt: skip


def test_a_record_that_json_cannot_hold_is_refused_by_name_and_nothing_of_its_chunk_is_written(journal):
    with pytest.raises(UserError, match=r"^sample s2: record.output.p\[1\] is nan, which is not finite"):
        journal.append([record(1), record(2, output={"p": [0, math.nan]})])
    assert not journal.path.exists()


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_last_line_is_cut_off_with_its_chunk(journal, cut):
    journal.append([record(n) for n in range(4)])
    safe = journal.path.read_bytes()
    journal.append([record(n) for n in range(4, 6)])
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    assert journal.resume(chunk=2, total=10) == [record(n) for n in range(4)]
    assert journal.path.read_bytes() == safe


def test_a_last_chunk_may_be_short_and_an_unfinished_one_may_not(journal):
    journal.append([record(n) for n in range(5)])
    assert len(journal.resume(chunk=3, total=5)) == 5
    assert len(journal.resume(chunk=3, total=6)) == 3
    assert len(journal.resume(chunk=4, total=6)) == 0
    assert journal.path.read_bytes() == b""


def test_a_cell_that_was_never_started_has_no_records(journal):
    assert journal.resume(chunk=3, total=5) == []
    assert list(journal.records()) == []


@settings(deadline=None)
@given(st.data())
def test_no_damage_to_a_single_bit_goes_unnoticed(tmp_path_factory, data):
    """Either the line is refused by its number, or it is cut off as torn, to be made again."""
    journal = Journal(tmp_path_factory.mktemp("journal"))
    journal.append([record(n, scores={"accuracy": n / 3}) for n in range(4)])
    written = journal.path.read_bytes()
    place = data.draw(st.integers(0, len(written) * 8 - 1))
    damaged = bytearray(written)
    damaged[place // 8] ^= 1 << place % 8
    journal.path.write_bytes(damaged)
    refused, kept = None, []
    try:
        kept = journal.resume(chunk=2, total=6)
    except UserError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(f"{journal.path}: line ")
        assert "move the folder" in refused
    else:
        assert kept == [record(n, scores={"accuracy": n / 3}) for n in range(2)]


@pytest.mark.parametrize("change", [lambda b: b.replace(b"s1", b"s2"), lambda b: b[:40], lambda b: b"\x00" * len(b)])
def test_a_damaged_line_is_named(journal, change):
    journal.append([record(n) for n in range(3)])
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + change(lines[1].rstrip(b"\n")) + b"\n" + lines[2])
    with pytest.raises(UserError, match=r"records.jsonl: line 2 is not a record: .*checksum"):
        list(journal.records())


def test_a_line_of_another_cell_is_named(journal, tmp_path):
    other = Journal(tmp_path / "another-key")
    other.acquire()
    for one in (journal, other):
        one.append([record(n) for n in range(3)])
    own, others = (one.path.read_bytes().splitlines(keepends=True) for one in (journal, other))
    journal.path.write_bytes(own[0] + others[1] + others[2])
    with pytest.raises(UserError, match=r"line 2 is not a record: .*of another cell"):
        list(journal.records())


def test_lines_of_earlier_versions_are_read(journal):
    import zlib

    journal.append([record(1)])
    body = journal.path.read_bytes().rpartition(b',"check"')[0]
    journal.path.write_bytes(body + b',"check":"%08x"}\n' % zlib.crc32(body))
    assert list(journal.records()) == [record(1)]


def test_a_line_of_another_version_is_named(journal):
    import zlib

    body = b'{"sample":"x","new":1'
    journal.path.write_bytes(body + b',"check":"%08x"}\n' % zlib.crc32(body))
    with pytest.raises(UserError, match=r"line 1 is not a record: its fields are not those of a record"):
        list(journal.records())


def test_a_hundred_thousand_records_are_read_in_seconds(journal):
    import time

    journal.append([record(n, scores={"accuracy": 1.0}) for n in range(100_000)])
    start = time.process_time()
    assert sum(1 for _ in journal.records()) == 100_000
    assert time.process_time() - start < 10


def test_a_finished_cell_has_its_result_its_times_and_its_records(journal):
    journal.append([record(1), record(2)])
    assert journal.result() is None
    timing = Timing(
        session="s", machine="m", device="cpu", what="w", inputs=1, warmup=1, repeats=1, median=1, q1=1, q3=1, p95=1
    )
    journal.finish(result(journal), timing)
    assert journal.result() == result(journal)
    assert journal.timing() == timing
    journal.check()


def test_the_result_is_written_last(journal, monkeypatch):
    from adaptbench.harness.store import journal as module

    names = []
    monkeypatch.setattr(module, "write_document", lambda path, content: names.append(path.name))
    journal.append([record(1)])
    timing = Timing(
        session="s", machine="m", device="cpu", what="w", inputs=1, warmup=1, repeats=1, median=1, q1=1, q3=1, p95=1
    )
    journal.finish(result(journal), timing)
    assert names == ["timing.json", "result.json"]


def test_a_result_is_the_same_bytes_in_whatever_order_a_set_stands(journal):
    journal.append([record(1)])
    offers = [f"part-{n}" for n in range(20)]
    texts = []
    for names in (offers, offers[::-1]):
        card = ModelCard.model_construct(**ModelCard(capabilities=("embed",)).model_dump() | {"offers": tuple(names)})
        journal.finish(
            result(journal, model_card=ModelCard(capabilities=("embed",), offers=frozenset(card.offers))), None
        )
        texts.append((journal.folder / "result.json").read_bytes())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["model_card"]["offers"] == sorted(offers)


@pytest.mark.parametrize("name", ["result.json", "timing.json"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 1}', b"\xff\x00", b"[]"])
def test_a_truncated_or_garbled_result_is_an_error_that_names_the_file(journal, name, content):
    (journal.folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not a valid {name}: .*; .*move the folder away and run again"):
        journal.result() if name == "result.json" else journal.timing()


def test_records_that_the_result_was_not_made_from_are_an_error(journal):
    journal.append([record(1)])
    journal.finish(result(journal), None)
    journal.append([record(2)])
    with pytest.raises(UserError, match=r"the records are not those that result.json was made from"):
        journal.check()
    journal.path.unlink()
    with pytest.raises(UserError, match=r"the records are not those that result.json was made from"):
        journal.check()


def test_a_claim_keeps_others_out_until_it_is_released(journal):
    other = Journal(journal.folder)
    assert journal.acquire()
    assert not other.acquire()
    journal.release()
    assert other.acquire()
    other.release()


def _hold(folder, ready):
    journal = Journal(folder)
    journal.acquire()
    ready.set()
    FORK.Event().wait()


def test_a_killed_process_lets_go_of_its_claim(journal):
    ready = FORK.Event()
    holder = FORK.Process(target=_hold, args=(journal.folder, ready), daemon=True)
    holder.start()
    assert ready.wait(30)
    assert not journal.acquire()
    holder.kill()
    assert journal.acquire(wait=True)
    holder.join()
    journal.release()


def test_a_claim_in_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / ".lock").mkdir()  # stands for whatever keeps the file from being opened
    with pytest.raises(UserError, match=r"cannot write"):
        Journal(tmp_path / "key").acquire()
