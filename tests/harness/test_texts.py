"""Any text, in any field of a card, a sample, an answer or a fault: it is stored, read back and shown."""

import adaptbench
import pytest
from adaptbench import Input, Metric, ModelCard, Prompt, Sample, Task, TaskCard
from adaptbench.harness.cards import MethodCard
from adaptbench.harness.comparison import Side, compare
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.harness.hashing import sha256_hex
from adaptbench.harness.results import CellId
from adaptbench.harness.store import Manifest, RunDirectory
from adaptbench.harness.store.documents import read_document, write_document
from adaptbench.harness.texts import printable, utf8
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ANY = st.text(st.characters(exclude_categories=()), max_size=8)
"""Halves of characters, controls and what turns the direction of writing included."""
FORMATS = (".html", ".md", ".csv", ".tex", ".parquet")


class Strange(Task):
    """All that a task says is one text."""

    def __init__(self, text):
        self.text, self.notes = text, (text,)
        fields = dict.fromkeys(("summary", "licence", "source", "revision", "citation", "note", "sample_noun"), text)
        self.name, self.metric = "strange", f"m{text}"
        self.card = TaskCard(capability="generate", rule=f"r{text}", metrics=(Metric(name=self.metric),), **fields)
        self.inputs = [Input(sha256_hex(utf8(f"{text} {i}")), lambda i=i: self.load(i)) for i in range(30)]
        self.samples = [
            Sample(f"{i}{text}", [i], text, group=f"g{text}{i // 2}", subsets={f"a{text}": f"s{text}{i % 2}"})
            for i in range(30)
        ]

    def load(self, place):
        if place == 3:
            raise BadSample(self.text, where=self.text, todo=self.text)
        return Prompt(self.text)

    def score(self, sample, parsed):
        return {self.metric: float(parsed == sample.target and sample.inputs[0] % 3 > 0)}


class Echo:
    """Says what it is asked; or, the other one, something else."""

    def __init__(self, text, name):
        self.name, self.notes = name, (text,)
        self.card = ModelCard(capabilities=("generate",), **dict.fromkeys(("summary", "licence", "decoding"), text))

    def generate(self, prompts):
        return [prompt.text + ("" if self.name == "echo" else "?") for prompt in prompts]


@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@example(text="=1\ud83d\0\x1b[31m</script><b>\u202e\ufffe\n|,\"'\\&\r")
@given(text=ANY)
def test_a_run_and_its_reports_take_any_text(text, quick, tmp_path_factory):
    out = tmp_path_factory.mktemp("any") / "run"
    result = adaptbench.run([Echo(text, "echo"), Echo(text, "other")], [Strange(text)], out=out)
    directory = RunDirectory(out)
    for stored in result.results:
        journal = directory.journal(stored.key)
        assert journal.check() == stored
        assert {record.output for record in journal.records()} <= {text, f"{text}?", None}
    assert len(result.to_pandas()) == 2
    for form in FORMATS:
        assert adaptbench.report(out, out / f"board{form}")
    comparison = compare(Side.of(directory, "echo"), Side.of(directory, "other"))
    assert comparison.to_pandas().task.tolist() == ["strange"]


@given(ANY)
@example("\ud800")
def test_what_is_written_is_utf_8_and_json_reads_it_back(text):
    utf8(text).decode()
    assert printable(printable(text)) == printable(text)
    utf8(printable(text)).decode()


@settings(max_examples=20, deadline=None)
@given(name=ANY, model=ANY, licence=ANY)
def test_a_document_is_read_as_it_was_written(name, model, licence, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "document.json"
    manifest = Manifest(name=name, created=licence, cells={name: CellId(model=model, task=licence)})
    for content in (manifest, MethodCard(licence=licence, needs=frozenset((name, model)))):
        write_document(path, content)
        if isinstance(content, Manifest):
            assert read_document(path, type(content), "") == content


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"name": "n"', '"name": "x"', "it does not have its checksum, so it was damaged or changed by hand"),
        ('"name"', ' "name"', "it does not have its checksum.*"),
        ('"check"', '"chick"', "it has no checksum, so it was damaged or changed by hand"),
    ],
)
def test_an_edited_document_is_refused(tmp_path, old, new, fault):
    path = tmp_path / "manifest.json"
    write_document(path, Manifest(name="n", created=""))
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(UserError, match=rf"manifest.json: not a valid manifest.json: {fault}; restore it"):
        read_document(path, Manifest, "restore it")


def test_a_message_names_no_address(tmp_path):
    assert str(UserError(f"cannot identify {object()!r}", todo="fix it")) == "cannot identify <object object>; fix it"
