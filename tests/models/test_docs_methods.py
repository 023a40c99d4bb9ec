"""What docs/methods.md shows works as shown, and its tables name every option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.methods import bind, method_class, options
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse_call
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("one_thread")

DOCS = (Path(adaptbench.__file__).parent / "docs" / "methods.md").read_text(encoding="utf-8")
SELECTOR, LOTTERY = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


class Colours(adaptbench.Task):
    card = adaptbench.TaskCard(summary="Which colour?", capability="generate")

    def __init__(self) -> None:
        images = [Image.new("RGB", (48, 48), colour) for colour in ("red", "green")]
        prompts = [adaptbench.Prompt("how many", (own,), (image_digest(own),), 3) for own in images]
        self.inputs = [adaptbench.Input(own.digests[0], lambda own=own: own) for own in prompts]
        self.samples = [adaptbench.Sample(str(i), [i], target="no") for i in range(2)]


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    name = re.search(r"into `(\w+\.py)`", DOCS)[1]
    (tmp_path / name).write_text(SELECTOR)
    return str(tmp_path / name)


def test_the_selector_has_thirty_lines() -> None:
    assert len([line for line in SELECTOR.splitlines() if line.strip()]) <= 30


def test_the_selector_runs_as_it_stands(plugin: str, tmp_path: Path, llava_folder: Callable) -> None:
    base = f'llava:"{llava_folder("clip")}"(conversation=plain)'
    models = [base, *(f"{base}+lucky-tokens(keep={keep})" for keep in (12, 6))]
    done = adaptbench.run(models, Colours(), plugins=[plugin], out=tmp_path / "run")
    costs = [result.flops.value for result in done.results]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 3


def test_what_the_selector_is_priced_at_is_what_it_costs(plugin: str, llava: Callable, ask: Callable) -> None:
    registry = load_plugins([plugin]).registry
    work = Costing(registry, "llava-1.5-7b+lucky-tokens(keep=288)").cost(CostRequest(text_tokens=64)).work
    assert work.visual_tokens == 288
    model = bind(registry.find("method", "lucky-tokens"), parse_call("lucky-tokens(keep=18)")).apply(llava("siglip"))
    assert model.answer([ask("no", 1)])[0].cost.visual_tokens == 18


def test_it_excludes_other_selectors_and_goes_with_fastv(plugin: str, tmp_path: Path) -> None:
    assert "fastv" in load_plugins([plugin]).registry.find("method", "lucky-tokens").card.combines_with
    twin = tmp_path / "twin.py"
    twin.write_text(Path(plugin).read_text().replace('"lucky-tokens"', '"twin"'))
    with pytest.raises(UserError, match="'lucky-tokens' and 'twin' exclude each other: both change visual-tokens"):
        adaptbench.run("llava:./none+lucky-tokens+twin", Colours(), plugins=[plugin, str(twin)], out=tmp_path / "run")


def test_the_method_inside_the_decoder_runs_as_it_stands(llava: Callable, ask: Callable) -> None:
    made: dict[str, Any] = {}
    exec(LOTTERY, made)
    model = llava()
    base, drawn = (each.answer([ask("how many", 1)])[0].cost for each in (model, model.with_method(made["Lottery"]())))
    assert drawn.flops < base.flops
    assert drawn.visual_tokens == base.visual_tokens


def test_an_option_that_makes_no_sense_is_refused(plugin: str) -> None:
    entry = load_plugins([plugin]).registry.find("method", "lucky-tokens")
    with pytest.raises(UserError, match="keep must be a whole number of at least 1, not 0; keep: how many visual tok"):
        bind(entry, parse_call("lucky-tokens(keep=0)"))


METHODS = {entry.name: options(method_class(entry)) for entry in load_plugins().registry.entries("method")}
LISTED = dict(
    re.findall(
        r"^\| `([\w-]+)` \|[^|]*\|([^|]*)\|$",
        DOCS.partition("\n## What there is\n")[2].partition("\n### ")[0],
        re.MULTILINE,
    )
)
"""Method -> what the table of all methods says of its options."""


def listed(name: str) -> set[str]:
    """The options that the page lists for a method, with those of another that it names."""
    shared = re.search(r"those of `([\w-]+)`", LISTED[name])
    own = {*re.findall(r"`(\w+)`", LISTED[name].replace(shared[0] if shared else "", ""))}
    return own | listed(shared[1]) if shared else own


def test_every_method_is_listed() -> None:
    assert set(LISTED) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_listed_with_its_options(name: str) -> None:
    assert listed(name) == {*METHODS[name]}


def test_baselines_have_the_defaults_that_are_listed() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (\S+) \|", DOCS, re.MULTILINE)
    assert {(name, option): default for name, option, default in rows} == {
        (name, option): str(field.default)
        for name in ("random-tokens", "grid-tokens", "pooled-tokens", "smaller-images")
        for option, field in METHODS[name].items()
    }


@pytest.mark.parametrize(("heading", "name"), [("PruMerge and PruMerge+", "prumerge-plus"), ("FastV", "fastv")])
def test_a_table_of_options_has_them_all(heading: str, name: str) -> None:
    section = DOCS.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", " ".join(cells))} == {*METHODS[name]} - {"seed"}
