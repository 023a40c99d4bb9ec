"""The registered names. Registering or listing a name imports nothing."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .arguments import check
from .cards import Card, FigureCard, MethodCard, ModelCard, ReportCard, TaskCard
from .errors import MissingArgument, UserError
from .faults import OUTSIDE, blamed_on, told
from .process_state import left_as_it_was
from .specs import check_name, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .specs import Call

Kind: TypeAlias = Literal[
    "model",
    "method",
    "task",
    "suite",
    "report",
    "figure",
    "architecture",
    "recipe",
    "importer",
]
Target: TypeAlias = "str | Callable[..., Any]"
"""A factory, or where to import it from: ``package.module:attribute``."""

OBJECT_OWNER = "your code"
"""Owner of models and tasks that are Python objects handed to the API."""

_PLACE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered name.

    Attributes:
        args: Arguments that the name itself fixes; a spec may override them.
        owner: The plugin that registered it.
        override: Whether it may replace another plugin's entry of the same name.
        panels: What makes a figure's panels for the board.
    """

    kind: Kind
    name: str
    target: Target
    owner: str
    card: Any = None
    args: Mapping[str, Any] = field(default_factory=dict)
    override: bool = False
    panels: Entry | None = None

    def factory(self) -> Callable[..., Any]:
        """Import and return the factory.

        Raises:
            UserError: It cannot be imported, whatever the reason, or cannot be called.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            with left_as_it_was(f"plugin {self.owner}"):
                found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except UserError:
            raise
        except OUTSIDE as error:  # importing runs a stranger's code, which may fail in any way
            missing = isinstance(error, ModuleNotFoundError)
            raise self._unusable(
                told(error, whole=True),
                "install what it needs" if missing else "see --debug for the traceback",
            ) from error
        if not callable(found):
            raise self._unusable(f"it is a {type(found).__name__}, which cannot be called", "register what makes it")
        return found  # type: ignore[no-any-return]

    def make(self, *given: Any, **arguments: Any) -> Any:
        """Call the factory.

        Raises:
            UserError: It cannot be imported, or fails.
        """
        with blamed_on(f"{self.kind} {self.name} of plugin {self.owner}", ""):
            return self.factory()(*given, **arguments)

    def bind(self, call: Call, **offered: Any) -> dict[str, Any]:
        """Return the keyword arguments for the factory, checked against its signature.

        Args:
            call: The name with its target and arguments, as the user wrote it.
            offered: Arguments such as ``seed`` or ``device``, passed only if the factory takes them and the user gave
                none.

        Raises:
            UserError: An argument is unknown or missing, or what the user gave is of another type than its parameter.
        """
        where = f"{self.kind} {call}"
        parameters = self._parameters()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        written: dict[str, Any] = dict(call.args)
        if call.target is not None:
            first = next(iter(named), None)
            if first is None or first in self.args or first in written:
                what = f"{self.name!r} takes nothing after ':', nor a value without a name"
                raise UserError(what, where=where, todo="write name=value")
            written[first] = call.target
        given = {**self.args, **written}
        for name in given:
            if name not in named and not open_ended:
                known = f"it takes {', '.join(named)}" if named else "it takes no arguments"
                raise UserError(f"unknown argument {name!r}{did_you_mean(name, named)}", where=where, todo=known)
        for parameter in parameters:
            if parameter.name in written and parameter.name in named:
                # a target is a text, also where it looks like a number
                todo = f"write {self.name}({parameter.name}=VALUE)" if parameter.name not in dict(call.args) else ""
                check(written[parameter.name], parameter, self.factory(), where, todo)
        given = {name: value for name, value in offered.items() if name in named} | given
        missing = [p.name for p in parameters if p.name in named and p.default is p.empty and p.name not in given]
        if missing:
            todo = f"write {self.name}:VALUE" if missing[0] == named[0] else f"write {self.name}({missing[0]}=VALUE)"
            raise MissingArgument(f"argument {missing[0]!r} is missing", where=where, todo=todo)
        return given

    def takes(self) -> list[str]:
        """Names of the arguments that a user may give."""
        return [parameter.name for parameter in self._parameters()]

    def _parameters(self) -> list[inspect.Parameter]:
        """Parameters that a user may fill. The first one of those named below is ours to fill."""
        try:
            parameters = list(inspect.signature(self.factory()).parameters.values())
        except (TypeError, ValueError) as error:
            raise self._unusable(f"its arguments are unknown: {error}", "register a function or a class") from error
        return parameters[1:] if self.kind in {"recipe", "report", "figure", "importer"} else parameters

    def _unusable(self, why: str, todo: str) -> UserError:
        return UserError(
            f"cannot load {self.target!r} of plugin {self.owner!r}: {why}",
            where=f"{self.kind} {self.name!r}",
            todo=todo,
        )


class Registrar:
    """What a plugin's ``register`` hook receives: it collects the names of one plugin.

    What is wrong without importing anything - a name that no spec can contain, a malformed target, a card of another
    kind - is a `UserError` at once.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.entries: list[Entry] = []

    def model(self, name: str, target: Target, *, card: ModelCard, override: bool = False) -> None:
        """Register a model: ``target(**arguments)`` returns it."""
        self._add(Entry("model", name, target, self.owner, card, override=override), ModelCard)

    def method(self, name: str, target: Target, *, card: MethodCard, override: bool = False) -> None:
        """Register a method: ``target`` is a subclass of `harness.methods.Method`."""
        self._add(Entry("method", name, target, self.owner, card, override=override), MethodCard)

    def task(
        self,
        name: str,
        target: Target,
        *,
        card: TaskCard,
        args: Mapping[str, Any] | None = None,
        override: bool = False,
    ) -> None:
        """Register a task: ``target(**arguments)`` returns it; ``args`` are arguments that the name implies."""
        self._add(Entry("task", name, target, self.owner, card, dict(args or {}), override), TaskCard)

    def suite(self, name: str, path: str | Path, *, override: bool = False) -> None:
        """Register a suite file."""
        self._add(Entry("suite", name, lambda: Path(path), self.owner, override=override))

    def report(
        self, name: str, target: Target, *, formats: Sequence[str], summary: str = "", override: bool = False
    ) -> None:
        """Register a report: ``target(request, **arguments)`` returns the content of a file, as text or bytes.

        For a folder it returns pairs of a path and such a content, which may be made one after the other.

        Args:
            name: How ``adaptbench report --table`` calls it.
            target: Called with a `harness.outputs.ReportRequest`.
            formats: Endings of the files that it is written to, such as ``.html``, in small letters; the usual one
                first; ``/`` for a folder. Where a user names no report, an ending that the leaderboard lacks finds the
                report that has it.
            summary: What it says, in a line.
            override: Whether it may replace another plugin's.
        """
        for suffix in formats or [""]:
            if not re.fullmatch(r"/|\.[a-z0-9]+", suffix):
                todo = "write one such as '.html'"
                raise UserError(f"{suffix!r} is not the ending of a file name", where=f"report {name!r}", todo=todo)
        card = ReportCard(summary=summary, formats=tuple(formats))
        self._add(Entry("report", name, target, self.owner, card, override=override))

    def figure(
        self,
        name: str,
        target: Target,
        *,
        summary: str = "",
        panels: Target | None = None,
        section: str = "Figures",
        override: bool = False,
    ) -> None:
        """Register a figure: ``target(request, **arguments)`` returns the content of a file, as text or bytes.

        Args:
            name: How ``adaptbench figure`` calls it.
            target: Called with a `harness.outputs.FigureRequest`.
            summary: What it shows, in a line.
            panels: Puts it on the board: ``panels(board)`` returns a list of `leaderboards.figures.Panel`, an empty one
                where the runs have nothing to show.
            section: Heading on the board under which the panels stand.
            override: Whether it may replace another plugin's.
        """
        own = None if panels is None else Entry("figure", name, panels, self.owner)
        card = FigureCard(summary=summary, section=section if own else "")
        self._add(Entry("figure", name, target, self.owner, card, override=override, panels=own))

    def architecture(
        self, name: str, target: Target, *, args: Mapping[str, Any] | None = None, override: bool = False
    ) -> None:
        """Register an architecture for ``adaptbench cost``: ``target(**arguments)`` returns a `Blueprint`.

        Args:
            name: How a spec calls it.
            target: See `harness.measure.counting.Blueprint` for what it returns.
            args: Arguments that the name implies.
            override: Whether it may replace another plugin's.
        """
        self._add(Entry("architecture", name, target, self.owner, None, dict(args or {}), override))

    def recipe(self, name: str, target: Target, *, override: bool = False) -> None:
        """Register how a model is trained: ``target(out, **arguments)`` trains it into a folder, and resumes there."""
        self._add(Entry("recipe", name, target, self.owner, override=override))

    def importer(self, name: str, target: Target, *, override: bool = False) -> None:
        """Register how another tool's results are read.

        Args:
            name: Of the tool.
            target: Called with a `harness.importing.ResultFile`; returns its cells, or ``None`` if the file is not one
                of the tool's.
            override: Whether it may replace another plugin's.
        """
        self._add(Entry("importer", name, target, self.owner, override=override))

    def _add(self, entry: Entry, card: type[Card] | None = None) -> None:
        where = f"{entry.kind} {entry.name!r}"
        check_name(entry.name, entry.kind)
        targets: list[Any] = [one.target for one in (entry, entry.panels) if one]
        for target in targets:
            if isinstance(target, str) and not _PLACE.fullmatch(target):
                raise UserError(
                    f"{target!r} is not a place to import from", where=where, todo="write 'module:attribute'"
                )
            if not isinstance(target, str) and not callable(target):
                todo = "give a function, a class or 'module:attribute'"
                raise UserError("it cannot be called", where=where, todo=todo)
        if card is not None and not isinstance(entry.card, card):
            found = type(entry.card).__name__
            raise UserError(f"its card is a {found}", where=where, todo=f"give a {card.__name__}")
        self.entries.append(entry)


class Registry:
    """All names of all plugins that loaded."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self.broken: dict[str, str] = {}
        """Plugins that failed to load -> the reason in a line."""

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Take over the names of a plugin: all, or none and a `UserError` that names both owners of a conflict.

        Of two plugins that register one name, the one that says ``override`` has it, whichever was loaded first.
        """
        new: dict[tuple[Kind, str], Entry] = {}
        for entry in entries:
            slot = (entry.kind, entry.name)
            other = new.get(slot) or self._entries.get(slot)
            if other is None or entry.override:
                new[slot] = entry
            elif other.owner == entry.owner or not other.override:
                raise UserError(
                    f"{entry.kind} {entry.name!r} of plugin {entry.owner!r} is registered by plugin {other.owner!r}",
                    todo="rename one of them, or register with override=True",
                )
        self._entries |= new

    def entries(self, kind: Kind) -> list[Entry]:
        """Return the entries of a kind, sorted by name."""
        return sorted((e for (k, _), e in self._entries.items() if k == kind), key=lambda e: e.name)

    def find(self, kind: Kind, name: str) -> Entry:
        """Return an entry; an unknown name is a `UserError` that offers the nearest ones."""
        entry = self._entries.get((kind, name))
        if entry is not None:
            return entry
        hint = did_you_mean(name, [e.name for e in self.entries(kind)])
        broken = "".join(f"; plugin {plugin!r} failed to load ({why})" for plugin, why in self.broken.items())
        raise UserError(f"unknown {kind} {name!r}{hint}{broken}", todo=f"`adaptbench list {kind}s` shows what there is")
