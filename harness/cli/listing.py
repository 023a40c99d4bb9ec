"""``adaptbench list`` and ``adaptbench plugin list``.

What is listed is remembered beside the bytecode until anything that is installed changes, because to load all plugins
takes five times as long as all else.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError
from ..stamps import digest, installed, time_of
from .output import echo, say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..registry import Entry

_REMEMBERED = Path(cache_from_source(__file__)).with_name("listing.json")


class _Name(NamedTuple):
    """A registered name, for programs and for people."""

    told: dict[str, Any]
    line: list[str]


def show_names(kind: str, extra: Sequence[str], *, as_json: bool) -> None:
    """Write the registered names of one kind, or of all."""
    asked = extra or os.environ.get("ADAPTBENCH_TRACE", "0") not in ("", "0")
    known = (None if asked else _remembered()) or _registered(extra)
    kinds = [k for k in known if kind in ("all", k, f"{k}s")]
    if not kinds:
        from ..specs import did_you_mean

        names = ["all", *(f"{k}s" for k in known)]
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, names)}", todo=f"choose from {', '.join(names)}")
    if as_json:
        write_json([name.told for k in kinds for name in known[k]])
        return
    for k in kinds:
        echo(f"{k}s")
        write_columns([name.line for name in known[k]])
    if kinds == ["method"]:
        _show_options(extra)


def _registered(extra: Sequence[str]) -> Mapping[str, list[_Name]]:
    """Load the plugins; remember their names if only what is installed with this package can change them."""
    from typing import get_args

    from ..plugins import PluginNames, load_plugins
    from ..registry import Kind

    stamp, plugins = _stamp(), load_plugins(extra)
    registry = plugins.registry
    for plugin in registry.broken:
        say(f"plugin {plugin!r} is broken; `adaptbench plugin list` shows why", err=True)
    known = {
        kind: [_Name(_as_json(e), [e.name, _note(e), _summary(e)]) for e in registry.entries(kind)]
        for kind in get_args(Kind)
    }
    if plugins.names == PluginNames() and not registry.broken:
        _remember(stamp, known)
    return known


def _remembered() -> Mapping[str, list[_Name]] | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(_REMEMBERED.read_bytes())
        if found["stamp"] == _stamp():
            return {kind: [_Name(*name) for name in names] for kind, names in found["names"].items()}
    return None


def _remember(stamp: str, known: Mapping[str, list[_Name]]) -> None:
    if sys.dont_write_bytecode:
        return
    draft = _REMEMBERED.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        draft.write_text(json.dumps({"stamp": stamp, "names": known}), encoding="utf-8")
        draft.replace(_REMEMBERED)


def _stamp() -> str:
    """What the built-in plugins, and which others there are, follow from."""
    return digest([installed(), [time_of(place) for place in sys.path], os.environ.get("ADAPTBENCH_PLUGINS")])


def _show_options(extra: Sequence[str]) -> None:
    """Write what each method takes; this imports the methods."""
    from ..methods import expects, method_class, options
    from ..plugins import load_plugins
    from ..specs import show_value

    for entry in load_plugins(extra).registry.entries("method"):
        kind = method_class(entry)
        only = "" if kind.can_run() else "; it can be priced, not run"
        only += "" if kind.has_cost_model() else "; its cost is measured, not predicted"
        echo()
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
    from ..plugins import load_plugins

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
        from ..suites import load_suite

        try:
            return load_suite(entry.make()).description or f"from {entry.owner}"
        except UserError as error:
            return str(error)
    return entry.card.summary if entry.card is not None else f"from {entry.owner}"
