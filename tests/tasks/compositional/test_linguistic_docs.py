"""docs/compositional.md says of the linguistic tasks what the code does."""

import inspect
import re
from pathlib import Path

import adaptbench
from adaptbench.harness.suites import load_suite
from adaptbench.tasks.compositional.chain_form import read, write
from adaptbench.tasks.compositional.linguistic import SETTINGS, T1, T2, linguistic_t1, linguistic_t2

ROOT = Path(adaptbench.__file__).parent
SECTION = (ROOT / "docs" / "compositional.md").read_text(encoding="utf-8").partition("\n## Linguistic\n")[2]


def table(heading):
    """The rows of a table, each a list of cells."""
    body = SECTION.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()[2:]]


def test_arguments_and_their_defaults():
    parameters = inspect.signature(linguistic_t1).parameters.values()
    has = {f"`{one.name}`": str(one.default).replace("False", "false") for one in parameters}
    assert {name: default.strip("` |") for name, _, default in table("argument | meaning | default")} == has
    assert inspect.signature(linguistic_t2).parameters.keys() == {p.name for p in parameters} - {"longest"}


def test_metrics():
    named = [name for first, *_ in table("metric | meaning") for name in re.findall(r"`([\w ]+)`", first)]
    assert named == [metric.name for metric in T1.metrics] == [metric.name for metric in T2.metrics]


def test_the_example_is_a_form():
    (form,) = re.findall(r"^    output: (.*)$", SECTION, re.MULTILINE)
    assert write(read(form)) == form


def test_the_suite_asks_both_pairs_in_all_settings():
    suite = load_suite(ROOT / "tasks" / "suites" / "compositional-linguistic.yaml")
    assert list(suite.tasks) == [
        f"linguistic-{pair}(setting={setting})" for pair in ("t1", "t2") for setting in SETTINGS
    ]
