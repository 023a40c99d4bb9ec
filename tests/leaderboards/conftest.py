"""Runs made by hand through the store, so that every number of a board is known; and the browser for boards."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from adaptbench.harness.cards import Metric, ModelCard, TaskCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.outputs import FOLDER, ReportRequest, write_report
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.results import CellId, CellResult, FlopCount, Timing
from adaptbench.harness.store import RunDirectory, Session
from adaptbench.harness.summary import summarise
from adaptbench.leaderboards import builtin

MACHINE = "Test CPU, 2 cores"
TASK_CARD = TaskCard(
    summary="Toy questions", capability="embed", rule="exact", sample_noun="question", licence="CC0-1.0", chance=0.25
)


class SyntheticRun:
    """A run directory that is filled cell by cell."""

    def __init__(self, path, session="session-1", machine=MACHINE):
        self.path, self.machine = path, machine
        self.directory = RunDirectory(path)
        self.begin(session)

    def begin(self, session):
        self.session = session
        environment = {
            "machine": self.machine,
            "platform": "TestOS 1.0",
            "python": "3.11.0",
            "memory_bytes": 8_000_000_000,
            "gpu": {},
            "packages": {"adaptbench": "0.1.0", "numpy": "2.0.0"},
            "git_revision": "abc1234",
        }
        started = "2026-01-02T03:04:05+00:00"
        self.directory.begin(
            Session(id=session, started=started, command="adaptbench run toy", environment=environment)
        )
        return self

    def cell(self, model, scores, *, task="toy", budget=1.0, seed=0, key="", card=TASK_CARD, **changes):
        """Complete a cell; ``scores`` has a number a sample, or ``None`` for one that cannot be scored."""
        outputs = changes.pop("outputs", [f"answer {i}" for i in range(len(scores))])
        groups = changes.pop("groups", [None] * len(scores))
        timing, end_to_end = changes.pop("timing", self.timing()), changes.pop("end_to_end", None)
        samples = [Sample(f"q{i}", [i], group=group) for i, group in enumerate(groups)]
        names = [metric.name for metric in card.metrics]
        records = [
            Record(f"q{i}", f"{i:064}", out, out, None if score is None else dict.fromkeys(names, score), group=group)
            for i, (score, out, group) in enumerate(zip(scores, outputs, groups, strict=True))
        ]
        cell = CellId(model=model, task=task, budget=budget, seed=seed)
        journal = self.directory.claim(key or f"{len(self.directory.journals()):032x}", cell)
        journal.acquire()
        journal.append(records)
        fields = {
            "key": journal.folder.name,
            "cell": cell,
            "model_card": ModelCard(summary=f"The model {model}", capabilities=("embed",)),
            "task_card": card,
            "samples_digest": "5a" * 32,
            "partial": None,
            "flops": None,
            "flops_missing": "" if changes.get("flops") else "not counted: the model is not a torch module",
            "settings": {"batch_size": 64, "device": "cpu"},
            "records_sha256": journal.digest(),
            **summarise(card, samples, records),
        }
        journal.finish(CellResult(**(fields | changes)), timing, end_to_end)
        journal.release()
        return self

    def unfinished(self, model, task="toy", records=3):
        """Begin a cell and leave it."""
        journal = self.directory.claim("f" * 32, CellId(model=model, task=task))
        journal.acquire()
        journal.append([Record(f"q{i}", "0" * 64, "answer") for i in range(records)])
        journal.release()
        return self

    def timing(self, median=0.064, **changes):
        fields = {
            "session": self.session,
            "machine": self.machine,
            "device": "cpu",
            "what": "forward of 64 images",
            "inputs": 64,
            "warmup": 3,
            "repeats": 20,
            "median": median,
            "q1": 0.9 * median,
            "q3": 1.2 * median,
            "p95": 1.5 * median,
            "peak_memory": 1_000_000,
        }
        return Timing(**(fields | changes))


def baseline_card():
    return ModelCard(summary="A baseline", capabilities=("embed",), reference=True)


def flops(value, **changes):
    return FlopCount(**({"value": value, "phase": "vision", "counter": "fvcore", "attention": "eager"} | changes))


def scores(mean, n=200, noise=0.0, seed=1):
    """Scores of common samples: what is hard for one model is hard for all; ``noise`` is the model's own."""
    common = np.random.default_rng(0).normal(0, 0.2, n)
    own = np.random.default_rng(seed).normal(0, noise, n)
    return (mean + common - common.mean() + own - own.mean()).tolist()


@pytest.fixture
def new_run(tmp_path):
    return lambda name="run", **options: SyntheticRun(tmp_path / name, **options)


@pytest.fixture(scope="session")
def new_shared_run(tmp_path_factory):
    """The same for runs that many tests only read."""
    return lambda name: SyntheticRun(tmp_path_factory.mktemp("shared") / name)


@pytest.fixture(scope="session")
def make():
    """What tests make cells of."""

    class Make:
        flops = staticmethod(flops)
        baseline_card = staticmethod(baseline_card)
        scores = staticmethod(scores)
        task_card = TASK_CARD
        metric = Metric

    return Make


def build_example(path):
    """Make a run with something of everything."""
    run = SyntheticRun(path)
    timing = run.timing
    run.cell("small", scores(0.6, noise=0.05), flops=flops(2_000_000), parameters=1_000_000, timing=timing(0.0128))
    run.cell("large", scores(0.8, noise=0.05, seed=2), flops=flops(90_000_000), parameters=45_000_000)
    run.cell("wasteful", scores(0.62, noise=0.05, seed=3), flops=flops(120_000_000), timing=timing(0.2))
    run.cell("uncounted", [None] * 4 + scores(0.7, noise=0.05, seed=4)[4:], unparsed=2)
    run.cell("random", scores(0.25, noise=0.3, seed=5), model_card=baseline_card(), timing=timing(0.001))
    run.cell("hasty", scores(0.8)[:12], partial="--limit 12", samples_digest="1b" * 32)
    two = TASK_CARD.model_copy(
        update={"metrics": (Metric(name="accuracy"), Metric(name="loss", unit="", better="lower"))}
    )
    run.cell("small", scores(0.3), task="toy|hard", card=two, flops=flops(2_000_000), timing=None)
    run.cell("large", scores(0.3, noise=0.3, seed=6), task="toy|hard", card=two, flops=flops(90_000_000))
    return run.unfinished("slow", task="toy|hard")


@pytest.fixture(scope="session")
def golden():
    """Compare a text with a golden file, or write it anew; the last digits of a sum are the processor's."""

    def check(name, text):
        path = Path(__file__).with_name("golden") / name
        text = re.sub(r"\d+\.\d{10,}", lambda number: f"{float(number[0]):.9g}", text)
        if os.environ.get("ADAPTBENCH_GOLDEN") == "write":
            path.write_text(text, encoding="utf-8", newline="\n")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def example(tmp_path):
    """The golden files are of this run, and the browser looks at it."""
    return build_example(tmp_path / "example")


@pytest.fixture(scope="session")
def shared_example(tmp_path_factory):
    """The same for tests that only read it."""
    return build_example(tmp_path_factory.mktemp("shared") / "example")


def builtin_plugins():
    """The built-in reports and figures."""
    plugins = Plugins()
    assert plugins.add("leaderboards", "a test", lambda: builtin).error == ""
    return plugins


@pytest.fixture
def plugins():
    """The built-in reports and figures."""
    return builtin_plugins()


@pytest.fixture(scope="module")
def module_plugins():
    """The same for tests that add nothing."""
    return builtin_plugins()


@pytest.fixture
def write(plugins):
    """Write a report of some runs to a file, as the command does."""

    def written(report, out, *runs, **arguments):
        form = out.suffix or FOLDER
        request = ReportRequest(runs=tuple(run.directory for run in runs), plugins=plugins, form=form)
        write_report(out, form, report(request, **arguments))
        return out

    return written


@pytest.fixture
def episodes(new_run, make, tmp_path):
    """A run of chapter 3 that is filled with trainings: ``add("multitask-ft", mean, ...)``."""
    run = new_run("episodes")
    count = iter(range(1000))

    def training(method, seed, **recipe):
        folder = tmp_path / str(next(count))
        folder.mkdir()
        told = {"tasks": 200, "ways": 15, "shots": 1, "queries": 9, "classes": None, "source": "glyphs"} | recipe
        told["budget"] = f"{told['tasks']} tasks"
        (folder / "recipe.json").write_text(json.dumps({"seed": seed, **told}))
        return f'+{method}(checkpoint="{folder}/model")'

    def add(method, mean, *, on=("glyphs",), then="", capability="embed", **recipe):
        card = TASK_CARD.model_copy(update={"capability": capability})
        for seed in (0, 1) if method else [0]:
            model = "vit" + (training(method, seed, **recipe) if method else "")
            if then:
                model += training(then, seed, source=on[0])
            for task in on:
                shift = 0.001 * (2 * seed - 1) if method else 0
                run.cell(model, make.scores(mean + shift, n=40, noise=0.01, seed=next(count)), task=task, card=card)

    run.add = add
    return run


FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("Chromium is missing, and the page is not tested without it: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def watched():
    """Watch a page for what it should not do."""

    class Seen:
        def __init__(self, page):
            self.console, self.requests, self.dialogs = [], [], []
            page.on("console", lambda message: self.console.append(message.text))
            page.on("pageerror", lambda error: self.console.append(str(error)))
            page.on("request", lambda request: self.requests.append(request.url))
            page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    return Seen
