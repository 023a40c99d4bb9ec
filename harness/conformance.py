"""The conformance kit: does a plugin's model or task keep its contract?

``adaptbench plugin check NAME`` runs it; from pytest::

    from adaptbench.harness.conformance import check
    from adaptbench.harness.plugins import load_plugins

    def test_my_plugin_keeps_its_contracts():
        assert [finding for finding in check(load_plugins(), "my-plugin") if not finding.ok] == []
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import Embedder, Generator, Prompt, Record
from .errors import UserError
from .hashing import canonical_json
from .identity import sample_digests, samples_digest
from .specs import parse_call
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.Image import Image

    from .contracts import Task
    from .plugins import Plugins
    from .registry import Entry

_TOLERANCE = 1e-4
_HOSTILE_OUTPUTS: tuple[Any, ...] = (
    None,
    "",
    "<script>alert(1)</script>",
    "\ud7ff\u0000",
    -1,
    1e308,
    [],
    [None],
    {},
    {"a": []},
    True,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    name: str
    """``model pixels: same answer twice``"""
    ok: bool
    detail: str = ""
    """Why it failed, or why it was not checked."""


def check(plugins: Plugins, name: str) -> list[Finding]:
    """Check all that a plugin registered. It must be among the loaded ones."""
    plugin = next((p for p in plugins.loaded if p.name == name), None)
    if plugin is None:
        known = ", ".join(p.name for p in plugins.loaded)
        raise UserError(f"there is no plugin {name!r}", todo=f"choose from {known}, or give a file")
    if plugin.error:
        return [Finding(f"plugin {name}: loads", False, plugin.error)]
    registered = [*plugins.registry.entries("model"), *plugins.registry.entries("task")]
    entries = [entry for entry in registered if entry.owner == name]
    findings = [Finding(f"plugin {name}: loads and registers names", bool(plugin.names), "it registered nothing")]
    return findings + [finding for entry in entries for finding in _check_entry(entry)]


def _check_entry(entry: Entry) -> Iterator[Finding]:
    title = f"{entry.kind} {entry.name}"
    try:
        arguments = entry.bind(parse_call(entry.name), seed=0, device="cpu")
    except UserError as error:
        if "missing" in error.what:
            yield Finding(f"{title}: not checked", True, f"{error.what}: it cannot be built from its name alone")
        else:
            yield Finding(f"{title}: can be found", False, str(error))
        return
    checks: tuple[Callable[[Any, Any], None], ...]
    if entry.kind == "task":
        checks = (_task_samples, _task_repeats, _task_scores)
    elif "embed" in entry.card.capabilities:
        checks = (_embeds, _embeds_alike)
    else:
        checks = (_generates,)
    try:
        subject = entry.factory()(**arguments)
    except Exception as error:
        yield Finding(f"{title}: can be built", False, _story(error))
        return
    for look in checks:
        what = (look.__doc__ or "").strip().rstrip(".")
        try:
            look(subject, lambda: entry.factory()(**arguments))
        except Exception as error:
            yield Finding(f"{title}: {what}", False, _story(error))
        else:
            yield Finding(f"{title}: {what}", True)


def _story(error: Exception) -> str:
    if isinstance(error, _Broken | UserError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"


class _Broken(Exception):
    """A contract is not kept."""


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _Broken(otherwise)


def _images() -> list[Image]:
    from PIL import Image

    rng = np.random.Generator(np.random.PCG64(0))
    return [Image.fromarray(rng.integers(0, 256, size=(40, 40, 3), dtype=np.uint8)) for _ in range(3)]


def _embeds(model: Any, _build: Callable[[], Any]) -> None:
    """embed(images) gives one finite vector an image."""
    _require(isinstance(model, Embedder), "it has no method embed")
    vectors = np.asarray(model.embed(_images()), dtype=np.float32)
    _require(
        vectors.ndim == 2 and len(vectors) == 3, f"3 images gave an array of shape {list(vectors.shape)}, not [3, d]"
    )
    _require(bool(np.isfinite(vectors).all()), "a vector holds NaN or infinity")


def _embeds_alike(model: Any, _build: Callable[[], Any]) -> None:
    """The same image has the same vector, alone or in a batch."""
    images = _images()
    once, twice = (np.asarray(model.embed(images), dtype=np.float32) for _ in range(2))
    _require(bool(np.array_equal(once, twice)), "the same call twice gave different vectors")
    alone = np.concatenate([np.asarray(model.embed([image]), dtype=np.float32) for image in images])
    scale = float(np.abs(once).max()) or 1.0
    _require(
        bool(np.abs(alone - once).max() <= _TOLERANCE * scale), "an image's vector depends on the rest of its batch"
    )


def _generates(model: Any, _build: Callable[[], Any]) -> None:
    """generate(prompts) gives one text a prompt, the same each time."""
    _require(isinstance(model, Generator), "it has no method generate")
    prompts = [Prompt("What is this?", (image,)) for image in _images()]
    once, twice = (list(model.generate(prompts)) for _ in range(2))
    _require(len(once) == 3 and all(isinstance(text, str) for text in once), f"3 prompts gave {once!r}")
    _require(once == twice, "the same call twice gave different texts")


def _task_samples(task: Task, _build: Callable[[], Any]) -> None:
    """Samples are distinct and ask for inputs that exist."""
    _require(len(task.samples) > 0, "it has no samples")
    ids = [sample.id for sample in task.samples]
    _require(len(set(ids)) == len(ids), "two samples have the same id")
    digests = [item.digest for item in task.inputs]
    _require(len(set(digests)) == len(digests), "two inputs have the same digest")
    highest = max((int(max(s.inputs)) for s in task.samples if len(s.inputs)), default=-1)
    _require(0 <= highest < len(digests), f"a sample asks for input {highest} of {len(digests)}")
    task.inputs[0].load()


def _task_repeats(task: Task, build: Callable[[], Any]) -> None:
    """Building it twice gives the same samples."""
    one, two = (samples_digest(t.samples, sample_digests(t, t.samples)) for t in (task, build()))
    _require(one == two, "the samples differ between two builds with the same seed")


def _task_scores(task: Task, _build: Callable[[], Any]) -> None:
    """Any output is parsed and scored or left unscored, never an exception."""
    sample = task.samples[0]
    for output in _HOSTILE_OUTPUTS:
        parsed = task.parse(output)
        canonical_json(parsed)
        record = Record(sample.id, "", output, parsed, task.score(sample, parsed))
        summarise(task.card, [sample], [record])
