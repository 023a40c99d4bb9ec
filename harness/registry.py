"""Names and what they stand for. Registering or listing a name imports nothing."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import UserError
from .specs import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .cards import MethodCard, ModelCard, TaskCard
    from .specs import Call

Kind: TypeAlias = Literal["model", "method", "task", "suite", "report"]
Target: TypeAlias = "str | Callable[..., Any]"
"""A factory, or where to import it from: ``package.module:attribute``."""

OBJECT_OWNER = "your code"
"""Owner of models and tasks that are Python objects handed to the API."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered name.

    Attributes:
        args: Arguments that the name itself fixes; a spec may override them.
        owner: The plugin that registered it.
        override: Whether it may replace another plugin's entry of the same name.
    """

    kind: Kind
    name: str
    target: Target
    owner: str
    card: Any = None
    args: Mapping[str, Any] = field(default_factory=dict)
    override: bool = False

    def factory(self) -> Callable[..., Any]:
        """Import and return the factory."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except UserError:
            raise
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"cannot load {self.target!r} of plugin {self.owner!r}: {error}",
                where=f"{self.kind} {self.name!r}",
                todo="see `adaptbench plugin list`, or install what it needs",
            ) from error
        return found  # type: ignore[return-value]

    def bind(self, call: Call, **offered: Any) -> dict[str, Any]:
        """Return the keyword arguments for the factory, checked against its signature.

        Args:
            call: The name with its target and arguments, as the user wrote it.
            offered: Arguments such as ``seed`` or ``device``, passed only if the factory takes them and the user gave
                none.
        """
        where = f"{self.kind} {call}"
        parameters = inspect.signature(self.factory()).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        named = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        given = {**self.args, **dict(call.args)}
        if call.target is not None:
            first = next(iter(named), None)
            if first is None or first in given:
                raise UserError(f"{self.name!r} takes nothing after ':'", where=where, todo=f"write just {self.name!r}")
            given[first] = call.target
        for name in given:
            if name not in named and not open_ended:
                known = f"it takes {', '.join(named)}" if named else "it takes no arguments"
                raise UserError(f"unknown argument {name!r}{did_you_mean(name, named)}", where=where, todo=known)
        for name, value in offered.items():
            if name in named:
                given.setdefault(name, value)
        missing = [n for n in named if parameters[n].default is inspect.Parameter.empty and n not in given]
        if self.kind == "method":
            missing = missing[1:]  # the model itself
        if missing:
            todo = f"write {self.name}:VALUE" if missing[0] == named[0] else f"write {self.name}({missing[0]}=VALUE)"
            raise UserError(f"argument {missing[0]!r} is missing", where=where, todo=todo)
        return given


class Registrar:
    """What a plugin's ``register`` hook receives: it collects the names of one plugin."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.entries: list[Entry] = []

    def model(self, name: str, target: Target, *, card: ModelCard, override: bool = False) -> None:
        """Register a model: ``target(**arguments)`` returns it."""
        self.entries.append(Entry("model", name, target, self.owner, card, override=override))

    def method(self, name: str, target: Target, *, card: MethodCard, override: bool = False) -> None:
        """Register a method: ``target(model, **arguments)`` returns the modified model and leaves the given one alone.

        A method whose card says ``takes_budget`` is given ``budget=`` when the model spec has one.
        """
        self.entries.append(Entry("method", name, target, self.owner, card, override=override))

    def task(
        self,
        name: str,
        target: Target,
        *,
        card: TaskCard,
        args: Mapping[str, Any] | None = None,
        override: bool = False,
    ) -> None:
        """Register a task: ``target(**arguments)`` returns it; ``args`` are arguments that the name stands for."""
        self.entries.append(Entry("task", name, target, self.owner, card, args or {}, override))

    def suite(self, name: str, path: Path, *, override: bool = False) -> None:
        """Register a suite file."""
        self.entries.append(Entry("suite", name, lambda: path, self.owner, override=override))

    def report(self, suffix: str, target: Target, *, override: bool = False) -> None:
        """Register a report format: ``target(runs, out)`` writes the runs to a file that ends with ``suffix``."""
        self.entries.append(Entry("report", suffix, target, self.owner, override=override))


class Registry:
    """All names of all plugins that loaded."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self.broken: dict[str, str] = {}
        """Plugins that failed to load -> the reason in a line."""

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Take over the names of a plugin: all, or none and a `UserError` that names both owners of a conflict."""
        new: dict[tuple[Kind, str], Entry] = {}
        for entry in entries:
            slot = (entry.kind, entry.name)
            owner = new.get(slot) or self._entries.get(slot)
            if owner is not None and not entry.override:
                raise UserError(
                    f"{entry.kind} {entry.name!r} of plugin {entry.owner!r} is registered by plugin {owner.owner!r}",
                    todo="rename one of them, or register with override=True",
                )
            new[slot] = entry
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
