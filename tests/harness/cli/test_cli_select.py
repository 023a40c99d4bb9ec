"""``adaptbench select``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A few-shot task on a folder of tiny images: target, one or two."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, shade in (("target", 170), ("one", 180), ("two", 60)):
        for number in range(20):
            pixels = np.clip(rng.normal(shade, 40, (4, 4, 3)), 0, 255).astype(np.uint8)
            path = root / name / f"class{number % 4}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)

    def named(name, episodes=6, queries=4):
        return f"image-folder:{root}/{name}(ways=3,shots=1,queries={queries},episodes={episodes})"

    return named


@pytest.fixture
def select(cli, spec):
    def run(*more, target="", candidates=(), encoder="pixels(size=4)"):
        given = [part for one in candidates or [spec("one")] for part in ("--candidates", one)]
        goal = target or spec("target")
        return cli("select", "--target", goal, *given, "--encoder", encoder, "--out", "here", *more)

    return run


def test_it_shows_and_writes_what_was_selected(select, tmp_path):
    done = select()
    assert (done.status, done.err) == (0, "")
    content = json.loads((tmp_path / "here" / "selection.json").read_bytes())
    assert f"Algorithm 1 selects {content['stop']}: {content['reason']}" in done.out
    assert "6 candidates for image-folder:" in done.out
    assert done.out.endswith("here/selection.json\nhere/tasks.json\n")
    similarities = [row["similarity"] for row in content["order"]]
    assert similarities == sorted(similarities, reverse=True)
    assert [row["chosen"] for row in content["order"]].count(True) == content["stop"]
    assert all(row["coverage"] > 0 and row["plain_fault"] in ("", "singular", "negative") for row in content["order"])
    listed = json.loads((tmp_path / "here" / "tasks.json").read_bytes())
    assert len(listed["tasks"]) == content["stop"]
    assert listed["sources"][0]["spec"].endswith("(episodes=6,queries=4,seed=0,shots=1,ways=3)")


def test_again_it_encodes_nothing_and_writes_the_same(select, tmp_path, monkeypatch):
    assert select().status == 0
    files = [tmp_path / "here" / name for name in ("selection.json", "tasks.json")]
    before = [file.read_bytes() for file in files]
    monkeypatch.setattr("adaptbench.harness.answering._embed", lambda model, batch: 1 / 0)
    assert select().status == 0
    assert [file.read_bytes() for file in files] == before


def test_datasets_are_candidates_too(select, spec):
    done = select("--level", "dataset", "--json", candidates=(spec("one"), spec("two")))
    content = json.loads(done.out)
    assert sorted(row["source"] for row in content["order"]) == [0, 1]
    assert all(row["episodes"] == list(range(6)) for row in content["order"])


def test_candidates_that_show_the_target_are_left_out_and_counted(select, spec):
    done = select(candidates=(spec("one"), spec("target", episodes=3)))
    assert "6 candidates for" in done.out
    assert "; 3 that show images of the target are left out" in done.out
    done = select(candidates=(spec("target", episodes=3),))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "every candidate shows images of the target" in done.err


def test_it_is_drawn(select, tmp_path, monkeypatch):
    titles = "adaptbench.leaderboards.figures.selection.render"
    monkeypatch.setattr(titles, lambda drawing, form: form + "".join(panel.title for panel in drawing.panels))
    done = select("--figure", "here/selection.svg", "--mode", "first-k", "--count", "2", "--no-compare")
    assert done.status == 0, done.err
    assert "mode first-k chooses 2" in done.out
    assert (tmp_path / "here" / "selection.svg").read_text() == ".svgSimilarityCoverage"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "says"}, "model says: it does not embed images"),
        ({"encoder": "pixles"}, "unknown model 'pixles' (did you mean 'pixels'?)"),
        ({"target": "logical-ab"}, "it is not a few-shot task; name one"),
        ({"target": "digts"}, "unknown task 'digts' (did you mean 'digits'?)"),
    ],
)
def test_what_is_wrong_is_one_line(select, arguments, message):
    done = select(**arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_candidates_that_cannot_be_listed_together_are_one_line(select, spec):
    for candidates, message in [
        ((spec("one"), spec("one")), "is named twice; name it once"),
        ((spec("one"), spec("two", queries=3)), "its tasks have other ways, shots or queries"),
        ((spec("one", queries=99),), "only 0 classes have the 100"),
    ]:
        done = select(candidates=candidates)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert message in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--level", "image"], "unknown level 'image'; choose from task, dataset"),
        (["--mode", "best"], "unknown mode 'best'"),
        (["--mode", "first-k"], "first-k needs its k"),
        (["--count", "3"], "mode selected takes no count"),
        (["--threshold", "-1"], "threshold=-1.0 is not 0 or more"),
        (["--max-tasks", "0"], "max_tasks=0 is not 1 or more"),
        (["--coverage", "full"], "unknown coverage 'full'"),
        (["--similarity", "l2"], "unknown similarity 'l2'"),
        (["--figure", "x.gif"], "a figure is not written as '.gif'"),
        (["--mode", "random", "--count", "99"], "there are 6 candidates, not 99"),
    ],
)
def test_options_that_mean_nothing_are_one_line(select, options, message):
    done = select(*options)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
