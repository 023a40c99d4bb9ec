"""``adaptbench list`` and ``adaptbench plugin list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import typer

from ..errors import UserError
from ..plugins import load_plugins
from ..registry import Entry, Kind
from ..specs import did_you_mean, show_value
from ..suites import load_suite
from .output import say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS: tuple[Kind, ...] = get_args(Kind)


def show_names(kind: str, extra: Sequence[str], *, as_json: bool) -> None:
    """Write the registered names of one kind, or of all."""
    registry = load_plugins(extra).registry
    for plugin in registry.broken:
        say(f"plugin {plugin!r} is broken; `adaptbench plugin list` shows why", err=True)
    kinds = [k for k in _KINDS if kind in ("all", k, f"{k}s")]
    if not kinds:
        names = ["all", *(f"{k}s" for k in _KINDS)]
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, names)}", todo=f"choose from {', '.join(names)}")
    if as_json:
        write_json([_as_json(entry) for k in kinds for entry in registry.entries(k)])
        return
    for k in kinds:
        typer.echo(f"{k}s")
        write_columns([[entry.name, _note(entry), _summary(entry)] for entry in registry.entries(k)])
    if kinds == ["method"]:
        _show_options(registry.entries("method"))


def _show_options(methods: Sequence[Entry]) -> None:
    """Write what each method takes; this imports the methods."""
    from ..methods import expects, method_class, options

    for entry in methods:
        kind = method_class(entry)
        only = "" if kind.can_run() else "; it can be priced, not run"
        only += "" if kind.has_cost_model() else "; its cost is measured, not predicted"
        typer.echo()
        say(f"{entry.name}{only}")
        write_columns(
            [
                [
                    name if field.is_required() else f"{name}={show_value(field.default)}",
                    expects(field),
                    " ".join((field.description or "").split()).rstrip("."),
                ]
                for name, field in options(kind).items()
            ]
        )


def show_plugins(extra: Sequence[str], *, as_json: bool) -> None:
    """Write every plugin with what it registers or why it is broken."""
    plugins = load_plugins(extra, strict=False).loaded
    if as_json:
        fields = ("name", "origin", "version", "names", "error", "traceback")
        write_json([{field: getattr(plugin, field) for field in fields} for plugin in plugins])
        return
    for plugin in plugins:
        state = "broken" if plugin.error else "ok"
        version = f" {plugin.version}" if plugin.version else ""
        say(f"{plugin.name}{version}  [{state}]  {plugin.origin}")
        write_columns([[line] for line in (plugin.traceback.splitlines() if plugin.error else plugin.names)])


def _as_json(entry: Entry) -> dict[str, Any]:
    card = entry.card.model_dump(mode="json") if entry.card is not None else None
    told = {"kind": entry.kind, "name": entry.name, "plugin": entry.owner, "arguments": dict(entry.args), "card": card}
    return told | ({"summary": _summary(entry)} if entry.kind == "suite" else {})


def _note(entry: Entry) -> str:
    if entry.kind == "model":
        return ", ".join(entry.card.capabilities)
    if entry.kind == "task":
        return str(entry.card.capability)
    if entry.kind == "method":
        return "takes a budget" if entry.card.takes_budget else ""
    if entry.kind == "report":
        return " ".join(entry.card.formats)
    if entry.kind == "figure" and entry.panels:
        return f"on the board: {entry.card.section}"
    return ""


def _summary(entry: Entry) -> str:
    """What it is, in a line: the card's summary, or a suite's description."""
    if entry.kind == "suite":
        try:
            return load_suite(entry.make()).description or f"from {entry.owner}"
        except UserError as error:
            return str(error)
    return entry.card.summary if entry.card is not None else f"from {entry.owner}"
