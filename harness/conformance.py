"""The conformance kit: do a plugin's models, methods and tasks keep their contracts, and are its figures there?

``adaptbench plugin check NAME`` runs it; from pytest::

    from adaptbench.harness.conformance import check
    from adaptbench.harness.plugins import load_plugins

    def test_my_plugin_keeps_its_contracts():
        assert [finding for finding in check(load_plugins(), "my-plugin") if not finding.ok] == []
"""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .abilities import NamesClasses, PromptsClasses, Replayed
from .contracts import (
    Aligned,
    DualEncoder,
    Embedder,
    Generator,
    MaskedModel,
    MaskedPrompt,
    Piece,
    Prompt,
    Record,
)
from .errors import MissingArgument, UserError
from .faults import OUTSIDE, told
from .hashing import canonical_json
from .methods import bind
from .samples import sample_digests, samples_digest
from .specs import Call, did_you_mean
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from PIL.Image import Image

    from .cards import Capability
    from .contracts import FloatArray, Sample, Task
    from .methods import Method
    from .plugins import Plugins
    from .registry import Entry, Kind

_Look: TypeAlias = "Callable[[Any, Callable[[], Any]], None]"
"""Checks a model or a task; the second argument builds a new one."""

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


def check(plugins: Plugins, name: str, note: Callable[[str], object] = lambda _: None) -> list[Finding]:
    """Check all that a plugin registered. It must be among the loaded ones; ``note`` is told what is checked next.

    A model or a task that cannot be built from its name alone is not checked; the finding says so. A method is tried
    on a model that offers what it needs, of its own plugin if there is one.
    """
    plugin = next((p for p in plugins.loaded if p.name == name), None)
    if plugin is None:
        known = [p.name for p in plugins.loaded]
        raise UserError(
            f"there is no plugin {name!r}{did_you_mean(name, known)}",
            todo=f"choose from {', '.join(known)}, or give a file or a module",
        )
    if plugin.error:
        return [Finding(f"plugin {name}: loads", False, plugin.error)]
    findings = [Finding(f"plugin {name}: registers names", bool(plugin.names), "" if plugin.names else "it has none")]
    kinds: tuple[Kind, ...] = ("model", "method", "task", "figure", "report")
    for entry in (e for kind in kinds for e in plugins.registry.entries(kind) if e.owner == name):
        note(f"checking {entry.kind} {entry.name}")
        if entry.kind == "method":
            findings += _check_method(plugins, entry)
        elif entry.kind in {"figure", "report"}:
            findings += _check_output(entry)
        else:
            findings += _check_entry(entry)
    return findings


def _check_entry(entry: Entry) -> Iterator[Finding]:
    title = f"{entry.kind} {entry.name}"
    try:
        arguments = entry.bind(Call(entry.name), seed=0, device="cpu")
    except UserError as error:
        yield _unbound(title, error)
        return
    of_task = (_task_samples, _task_repeats, _task_answers, _task_scores)
    looks = of_task if entry.kind == "task" else _model_looks(entry)
    yield from _look(title, lambda: entry.factory()(**arguments), looks)


def _check_output(entry: Entry) -> Iterator[Finding]:
    """See that what draws a figure or writes a report, and a figure's panels, are where the plugin says."""
    title = f"{entry.kind} {entry.name}: can be found"
    try:
        entry.bind(Call(entry.name))
        if entry.panels is not None:
            entry.panels.factory()
    except UserError as error:
        yield Finding(title, isinstance(error, MissingArgument), str(error))
    else:
        yield Finding(title, True)


def _check_method(plugins: Plugins, entry: Entry) -> Iterator[Finding]:
    """Try a method on a model."""
    title = f"method {entry.name}"
    try:
        offered = {"seed": 0, "budget": 0.5} if entry.card.takes_budget else {"seed": 0}
        method = bind(entry, Call(entry.name), **offered)
    except UserError as error:
        yield _unbound(title, error)
        return
    if not method.can_run():
        yield Finding(f"{title}: not checked", True, "it has only a cost model")
        return
    found = _base_for(plugins, entry, method)
    if found is None:
        needs = ", ".join(sorted(entry.card.needs)) or "nothing"
        yield Finding(f"{title}: not checked", True, f"no model that can be built from its name alone offers {needs}")
        return
    base, method, model, before = found

    def leaves_base_alone(_result: Any, _build: Callable[[], Any]) -> None:
        """The model that it is given stays as it was."""
        _require(bool(np.array_equal(before, _answers(base, model))), "the given model answers otherwise than before")

    title = f"{title} on {base.name}"
    yield from _look(title, lambda: method.apply(model), (*_model_looks(base), leaves_base_alone))


def _base_for(plugins: Plugins, tried: Entry, method: Method) -> tuple[Entry, Method, Any, Any] | None:
    """A model to try a method on: the method for it, the model and its answers.

    The plugin's own models come before others, baselines last; the first that takes the method, or else the first.
    """
    offers = [e for e in plugins.registry.entries("model") if tried.card.needs <= e.card.offers]
    first = None
    for entry in sorted(offers, key=lambda e: (e.owner != tried.owner, e.card.reference, e.name)):
        # One that wants arguments, a checkpoint of the method, or something that is not installed, is passed over.
        with contextlib.suppress(Exception, SystemExit):
            own = method.for_base(entry.factory())
            model = entry.factory()(**entry.bind(Call(entry.name), seed=0, device="cpu"))
            found = entry, own, model, _answers(entry, model)
            first = first or found
            _answers(entry, own.apply(model))
            return found
    return first


def _unbound(title: str, error: UserError) -> Finding:
    """The message for a factory that cannot be called: only a missing argument is not an error."""
    if isinstance(error, MissingArgument):
        return Finding(f"{title}: not checked", True, f"{error.what}: it cannot be built from its name alone")
    return Finding(f"{title}: can be found", False, str(error))


def _look(title: str, build: Callable[[], Any], looks: Iterable[_Look]) -> Iterator[Finding]:
    """Build what a name registers, and check it."""
    try:
        subject = build()
    except MissingArgument as error:
        yield _unbound(title, error)
        return
    except OUTSIDE as error:
        yield Finding(f"{title}: can be built", False, _story(error))
        return
    for look in looks:
        what = (look.__doc__ or "").strip().rstrip(".")
        try:
            look(subject, build)
        except OUTSIDE as error:
            yield Finding(f"{title}: {what}", False, _story(error))
        else:
            yield Finding(f"{title}: {what}", True)


def _story(error: BaseException) -> str:
    if isinstance(error, _Broken | UserError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told(error, whole=True)} ({frame.filename}:{frame.lineno})"


class _Broken(Exception):
    """A contract is not kept."""


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _Broken(otherwise)


def _images() -> list[Image]:
    from PIL import Image

    rng = np.random.Generator(np.random.PCG64(0))
    return [Image.fromarray(rng.integers(0, 256, size=(40, 40, 3), dtype=np.uint8)) for _ in range(3)]


def _model_looks(entry: Entry) -> tuple[_Look, ...]:
    if entry.card.replays:
        return (_replays,)
    looks: dict[Capability, tuple[_Look, ...]] = {
        "embed": (_embeds, _embeds_alike, _embeds_again),
        "dual": (_embeds_texts,),
        "generate": (_generates_from_texts if _is_blind(entry) else _generates,),
        "masked": (_fills_masks,),
    }
    return tuple(look for capability, some in looks.items() if capability in entry.card.capabilities for look in some)


def _answers(entry: Entry, model: Any) -> Any:
    if {"embed", "dual"} & {*entry.card.capabilities}:
        return _vectors(model)
    return _logits(model) if "masked" in entry.card.capabilities else _texts(model, with_images=not _is_blind(entry))


def _is_blind(entry: Entry) -> bool:
    return "images" in entry.card.lacks


def _vectors(model: Any, images: Sequence[Image] | None = None) -> FloatArray:
    """Vectors of images; by default of three."""
    given = _images() if images is None else images
    _require(isinstance(model, Embedder), "it has no method embed")
    vectors = np.asarray(model.embed(given), dtype=np.float32)
    shaped = vectors.ndim == 2 and len(vectors) == len(given)
    _require(shaped, f"{len(given)} images gave an array of shape {list(vectors.shape)}, not [{len(given)}, d]")
    return vectors


def _embeds(model: Any, _build: Callable[[], Any]) -> None:
    """embed(images) gives one finite vector per image."""
    _require(bool(np.isfinite(_vectors(model)).all()), "a vector holds NaN or infinity")


def _embeds_alike(model: Any, _build: Callable[[], Any]) -> None:
    """The same image has the same vector, alone or in a batch."""
    once, twice = _vectors(model), _vectors(model)
    _require(bool(np.array_equal(once, twice)), "the same call twice gave different vectors")
    alone = np.concatenate([_vectors(model, [image]) for image in _images()])
    _require(alone.shape == once.shape, f"vectors have {alone.shape[1]} numbers alone and {once.shape[1]} in a batch")
    scale = float(np.abs(once).max()) or 1.0
    _require(
        bool(np.abs(alone - once).max() <= _TOLERANCE * scale), "an image's vector depends on the rest of its batch"
    )


def _embeds_again(model: Any, build: Callable[[], Any]) -> None:
    """Building it twice gives the same vectors."""
    one, two = _vectors(model), _vectors(build())
    _require(bool(np.array_equal(one, two)), "two builds with the same seed gave different vectors")


def _embeds_texts(model: Any, _build: Callable[[], Any]) -> None:
    """embed_texts(texts) gives each text a vector as long as an image's, alone or in a batch."""
    names = ["cat", "a photo of a sea lion", "x"]
    if isinstance(model, PromptsClasses):
        scores = _vectors(model.for_classes(names))
        _require(scores.shape[1] == len(names), f"{len(names)} classes gave {scores.shape[1]} scores")
        return
    _require(isinstance(model, DualEncoder), "it has no method embed_texts")
    once, width = np.asarray(model.embed_texts(names), dtype=np.float32), _vectors(model).shape[1]
    _require(once.shape == (len(names), width), f"texts gave shape {list(once.shape)}, not [{len(names)}, {width}]")
    _require(bool(np.isfinite(once).all()), "a vector holds NaN or infinity")
    alone = np.concatenate([np.asarray(model.embed_texts([name]), dtype=np.float32) for name in names])
    scale = float(np.abs(once).max()) or 1.0
    _require(bool(np.abs(alone - once).max() <= _TOLERANCE * scale), "a text's vector depends on the rest of its batch")


def _texts(model: Any, *, with_images: bool = True) -> list[Any]:
    _require(isinstance(model, Generator), "it has no method generate")
    prompts = [Prompt("What is this?", (image,) if with_images else ()) for image in _images()]
    return list(model.generate(prompts))


def _logits(model: Any, prompts: int = 3) -> FloatArray:
    _require(isinstance(model, MaskedModel), "it has no method fill_mask")
    texts = ("It was cold.", "We went there and it was very cold.", "No.")[:prompts]
    asked = [MaskedPrompt((Piece(text),), (Piece("."),), ("yes", "no")) for text in texts]
    logits = np.asarray(model.fill_mask(asked), dtype=np.float32)
    _require(logits.shape == (prompts, 2), f"{prompts} prompts with 2 words gave {list(logits.shape)}")
    return logits


def _fills_masks(model: Any, _build: Callable[[], Any]) -> None:
    """fill_mask(prompts) gives one finite logit per word, the same each time, alone or in a batch."""
    once = _logits(model)
    _require(bool(np.isfinite(once).all()), "a logit is NaN or infinite")
    _require(bool(np.array_equal(once, _logits(model))), "the same call twice gave different logits")
    apart = float(np.abs(_logits(model, 1) - once[:1]).max())
    _require(apart <= _TOLERANCE * (float(np.abs(once).max()) or 1.0), "a prompt's logits depend on its batch")


def _replays(model: Any, _build: Callable[[], Any]) -> None:
    """It looks answers up."""
    _require(isinstance(model, Replayed), "its card says that it replays, and it has no method replay")


def _generates(model: Any, _build: Callable[[], Any]) -> None:
    """generate(prompts) gives one text per prompt with an image, the same each time."""
    try:
        _same_texts(model, with_images=True)
    except OUTSIDE as error:
        _same_texts(model, with_images=False)
        raise _Broken(f'without images alone; say lacks={{"images"}} on its card ({_story(error)})') from error


def _generates_from_texts(model: Any, _build: Callable[[], Any]) -> None:
    """generate(prompts) gives one text per prompt, the same each time."""
    _same_texts(model, with_images=False)


def _same_texts(model: Any, *, with_images: bool) -> None:
    once, twice = (_texts(model, with_images=with_images) for _ in range(2))
    _require(len(once) == 3 and all(isinstance(text, str) for text in once), f"3 prompts gave {once!r}")
    _require(once == twice, "the same call twice gave different texts")


def _task_samples(task: Task, _build: Callable[[], Any]) -> None:
    """Samples are distinct and ask for inputs that exist."""
    _require(len(task.samples) > 0, "it has no samples")
    ids = [sample.id for sample in task.samples]
    _require(len(set(ids)) == len(ids), "two samples have the same id")
    digests = [item.digest for item in task.inputs]
    kept = task.card.capability in {"embed", "dual"}
    _require(not kept or len(set(digests)) == len(digests), "two inputs have the same digest")
    for sample in task.samples:
        for position in (int(min(sample.inputs)), int(max(sample.inputs))) if len(sample.inputs) else ():
            _require(0 <= position < len(digests), f"sample {sample.id} asks for input {position} of {len(digests)}")
    task.inputs[0].load()


def _task_repeats(task: Task, build: Callable[[], Any]) -> None:
    """Building it twice gives the same samples."""
    one, two = (samples_digest(t.samples, sample_digests(t, t.samples)) for t in (task, build()))
    _require(one == two, "the samples differ between two builds with the same seed")


def _task_answers(task: Task, _build: Callable[[], Any]) -> None:
    """A model's answers are scored in every metric, the same each time."""
    samples = task.samples[:3]
    rng = np.random.Generator(np.random.PCG64(0))
    images = rng.standard_normal((len(task.inputs), 8)).astype(np.float32)
    if task.card.capability == "embed":
        answers: Any = images
    elif task.card.capability == "dual":
        _require(isinstance(task, NamesClasses), "it has no class_names and templates")
        asked = (len(task.class_names), len(task.templates), 8)  # type: ignore[attr-defined]
        answers = Aligned(images, rng.standard_normal(asked).astype(np.float32))
    elif task.card.capability == "language":
        answers = [[-1.0, True]] * len(task.inputs)
    elif task.card.capability == "masked":
        answers = [[float(n) for n in range(len(item.load().words))] for item in task.inputs]
    else:
        answers = ["yes"] * len(task.inputs)
    once, twice = (_scored(task, samples, task.outputs(samples, answers)) for _ in range(2))
    _require(once == twice, "the same answers were scored differently the second time")


def _task_scores(task: Task, _build: Callable[[], Any]) -> None:
    """Any output is parsed and scored or left unscored, never an exception."""
    sample = task.samples[0]
    for output in (*_HOSTILE_OUTPUTS, sample.target):
        _scored(task, [sample], [output])


def _scored(task: Task, samples: Sequence[Sample], outputs: Sequence[Any]) -> list[Record]:
    """Records of raw outputs, after what the runner and the store would find wrong with them."""
    _require(len(outputs) == len(samples), f"outputs() gave {len(outputs)} outputs for {len(samples)} samples")
    records = []
    for sample, output in zip(samples, outputs, strict=True):
        parsed = task.parse(sample, output)
        canonical_json([output, parsed])
        records.append(Record(sample.id, "", output, parsed, task.score(sample, parsed)))
    summarise(task.card, samples, records)
    return records
