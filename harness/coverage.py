"""Which model types that a library knows are priced, each with its default config: ``doctor --architectures``."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections import Counter as Tally
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .costing import Costing, CostRequest
from .errors import UserError
from .markdown import markdown_table, plain
from .measure.reconcile import reconcile
from .plugins import load_plugins
from .reading import read_text
from .specs import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from .registry import Registry

AUTO = {
    "causal": "AutoModelForCausalLM",
    "image-text": "AutoModelForImageTextToText",
    "image classification": "AutoModelForImageClassification",
    "zero-shot": "AutoModelForZeroShotImageClassification",
    "masked": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "text encoder": "AutoModelForTextEncoding",
    "backbone": "AutoBackbone",
}
"""What kinds of models there are -> what builds them."""
PRICED, TEXT_ONLY, REFUSED, NOT_BUILT = "priced", "images not priced", "refused", "transformers does not build it"
STATES = (PRICED, TEXT_ONLY, REFUSED, NOT_BUILT)
_ARCHITECTURE = "stock"
"""The architecture that builds a model type with its default config, and says why it cannot (`adapters.stock`)."""
_TOKENS = 100
_EACH = 20
"""Model types of a process: it gives the memory that they took back."""
_LONGEST = 300
"""Characters of a reason."""


class Stock(Protocol):
    """A model type with its default config: the architecture ``stock``."""

    missing: str
    """Why its images are not priced, once it is; empty if they are."""
    completed: str
    """What of its default config is replaced, because it does not fit the rest; empty if nothing is."""

    def own_error(self) -> str:
        """Why the library itself does not build it; empty if it does."""
        ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of a model type.

    Attributes:
        kind: Of `AUTO`.
        model_type: As a config names it.
        state: Of `STATES`.
        reason: Why it is not priced, or its images are not, or what had to be said of its config.
        flops: Phase -> FLOPs of a prompt of 100 tokens, or of all that it has positions for, beside one image.
    """

    kind: str
    model_type: str
    state: str
    reason: str = ""
    flops: Mapping[str, int] = field(default_factory=dict)


Verdict: TypeAlias = "Callable[[Registry, str, str], Coverage]"
"""Plugins, kind of `AUTO` and model type -> what becomes of it."""


def price(registry: Registry, kind: str, model_type: str) -> Coverage:
    """Price a model type as ``adaptbench cost --count`` does: its operators must come to what both counters count."""
    name, auto = model_type, AUTO[kind]
    try:
        costing = Costing(registry, str(Call(_ARCHITECTURE, name, (("auto", auto),))))
        tokens = min(_TOKENS, costing.blueprint.longest)
        cost = costing.cost(CostRequest(text_tokens=tokens), count=True)
        if cost.counted != cost.flops:
            reconcile(costing.counter, costing.blueprint, costing.traced)
    except UserError as error:
        stock: Stock = registry.find("architecture", _ARCHITECTURE).factory()(name, auto=auto)
        own = stock.own_error()
        return Coverage(kind, name, NOT_BUILT if own else REFUSED, shortened(own or str(error)))
    priced = cast("Stock", costing.blueprint)
    reason = shortened(priced.missing or priced.completed)
    return Coverage(kind, name, TEXT_ONLY if priced.missing else PRICED, reason, dict(cost.flops))


def cover(
    plugins: Sequence[str], wanted: Iterable[tuple[str, str]], seconds: float, verdict: Verdict = price
) -> Iterator[Coverage]:
    """Price kinds of model and model types in a process of their own, each in a limited time.

    Args:
        plugins: As `load_plugins` takes them, for the other process.
        wanted: Kind of `AUTO` and model type.
        seconds: Of processor time, for one of them: what else the machine does shall not decide.
        verdict: What says what becomes of one; importable by name, for the other process.
    """
    worker = None
    try:
        for place, (kind, model_type) in enumerate(wanted):
            if worker is not None and place % _EACH == 0:
                worker.stop()
                worker = None
            worker = worker or _Worker(plugins, seconds, verdict)
            found = worker.price(kind, model_type)
            if isinstance(found, str):
                worker.stop()
                worker, found = None, Coverage(kind, model_type, REFUSED, found)
            yield found
    finally:
        if worker is not None:
            worker.stop()


class _Worker:
    """A process that prices."""

    def __init__(self, plugins: Sequence[str], seconds: float, verdict: Verdict) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        self._process = context.Process(target=_work, args=(tuple(plugins), seconds, verdict, other), daemon=True)
        self._process.start()
        other.close()
        self._seconds = seconds
        try:
            self._end.recv()
        except EOFError:
            raise UserError("the process that prices does not start", todo="see what it says above") from None

    def price(self, kind: str, model_type: str) -> Coverage | str:
        """What became of a model type, or why it took the process down."""
        try:
            self._end.send((kind, model_type))
            found: Coverage = self._end.recv()
        except (EOFError, OSError):
            self._process.join()
            if self._process.exitcode == -signal.SIGPROF:
                return f"it takes over {self._seconds:g} s"
            return f"it ends its process (exit status {self._process.exitcode}), perhaps for lack of memory"
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._end.close()


def _work(plugins: Sequence[str], seconds: float, verdict: Verdict, end: Connection) -> None:
    registry = load_plugins(plugins, strict=False).registry
    registry.find("architecture", _ARCHITECTURE).factory()  # what it imports is not the first one's time
    end.send("ready")
    while True:
        kind, model_type = end.recv()
        signal.setitimer(signal.ITIMER_PROF, seconds)  # whose signal ends the process, wherever it is
        try:
            end.send(verdict(registry, kind, model_type))
        except Exception as error:  # noqa: BLE001 - a crash is an answer, too
            end.send(Coverage(kind, model_type, REFUSED, shortened(f"crash: {type(error).__name__}: {error}")))


def read_journal(path: Path) -> list[Coverage]:
    """What an earlier run found, as JSON Lines; a last line that was cut short is left out.

    Raises:
        UserError: It cannot be read, or is not such a file.
    """
    lines = read_text(path).splitlines(keepends=True) if path.exists() else []
    try:
        return [Coverage(**json.loads(line)) for line in lines if line.endswith("\n")]
    except (ValueError, TypeError) as error:
        raise UserError(f"cannot read it: {error}", where=str(path), todo="name the journal of such a run") from error


def journal_line(one: Coverage) -> str:
    """A line of the journal."""
    return json.dumps(asdict(one)) + "\n"


def totals(found: Iterable[Coverage], states: Sequence[str] = STATES) -> dict[str, dict[str, int]]:
    """Kind of model -> state -> number of model types."""
    tally = Tally((one.kind, one.state) for one in found)
    kinds = dict.fromkeys(kind for kind, _ in tally)
    return {kind: {state: tally[kind, state] for state in states} for kind in kinds}


def tables(found: Sequence[Coverage], states: Sequence[str] = STATES) -> str:
    """Markdown: how many of each kind became what, and of each state those of which there is something to say."""
    counts = totals(found, states)
    rows = [[kind, str(sum(n.values())), *map(str, n.values())] for kind, n in counts.items()]
    parts = [markdown_table(["kind of model", "types", *states], rows, range(1, 2 + len(states)))]
    for state in states:
        said = [one for one in found if one.state == state and one.reason]
        rows = [[one.kind, f"`{one.model_type}`", plain(one.reason)] for one in said]
        if rows:
            title = f"{state}, with a remark" if state == PRICED else state
            parts.append(f"## {title[0].upper()}{title[1:]}")
            parts.append(markdown_table(["kind of model", "model type", "why, or how"], rows))
    return "\n\n".join(parts)


def shortened(reason: str) -> str:
    """A reason on one line of limited length."""
    text = " ".join(reason.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
