"""``adaptbench doctor``."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UserError
from ..measure import hardware
from ..plugins import BUILTIN, load_plugins
from ..store import RunDirectory
from .output import echo, say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FOR_USERS = ("torch", "gpu", "images", "datasets", "board")
"""Extras that a user may want; the others are for work on AdaptBench itself."""
_CHECKED = ("clip-vit-l-336", "llama-2-7b", "llava-1.5-7b", "mistral-7b", "phi-2", "roberta-large")
"""Architectures, one of a kind, whose closed form `doctor --cost` holds against the counters."""
_LIMIT = 90.0
"""Seconds of processor time for each model type of `doctor --architectures`."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def examine_costs(extra: Sequence[str], *, as_json: bool) -> None:
    """Check the cost engine on cases whose answer is known; exit status 1 if one comes out otherwise."""
    from dataclasses import asdict

    from ..measure.selfcheck import check_costs

    registry = load_plugins(extra, strict=False).registry
    entries = [entry for entry in registry.entries("architecture") if entry.name in _CHECKED]
    checks = list(check_costs([entry.factory()(**entry.args) for entry in entries]))
    if as_json:
        write_json([asdict(check) for check in checks])
    else:
        write_columns([["ok" if check.ok else "FAILED", check.name, check.detail] for check in checks])
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def examine_architectures(extra: Sequence[str], *, journal: Path | None, real: bool, as_json: bool) -> None:
    """Price every model type of every kind with its default config, and write Markdown tables; takes about an hour.

    If ``real``, run small models of them instead, and hold what their configs say against the passes that are counted.

    Each is told on standard error, and kept in the journal, as soon as it is known; what the journal has is not priced
    again.
    """
    from dataclasses import asdict

    from ..coverage import AUTO, STATES, cover, journal_line, price, read_journal, tables, totals
    from ..real_passes import STATES as REAL_STATES
    from ..real_passes import compare

    library: Any = load_plugins(extra, strict=False).registry.find("architecture", "stock").factory()
    wanted = [(kind, name) for kind, auto in AUTO.items() for name in library.model_types(auto)]
    kept = {(one.kind, one.model_type): one for one in (read_journal(journal) if journal else ())}
    if journal and not journal.absolute().parent.is_dir():
        raise UserError("there is no such folder", where=str(journal.parent), todo="make it, or name another")
    with journal.open("w", encoding="utf-8") if journal else nullcontext() as file:
        if file:
            file.writelines(map(journal_line, kept.values()))
        left = [each for each in wanted if each not in kept]
        for one in cover(extra, left, _LIMIT, compare if real else price):
            kept[one.kind, one.model_type] = one
            if file:
                file.write(journal_line(one))
                file.flush()
            reason = f": {one.reason}" if one.reason else ""
            say(f"{len(kept)}/{len(wanted)}  {one.kind}  {one.model_type}  {one.state}{reason}", err=True)
    found = [kept[each] for each in wanted]
    states = REAL_STATES if real else STATES
    if as_json:
        write_json({"types": [asdict(one) for one in found], "totals": totals(found, states)})
    else:
        echo(tables(found, states))


def examine(runs: Sequence[Path], extra: Sequence[str], *, as_json: bool) -> None:
    """Report on the machine, the extras, the plugins and the given runs; exit status 1 if anything is wrong.

    What is not installed is not a fault: the report says how to get it.
    """
    plugins = load_plugins(extra, strict=False).loaded
    broken = {plugin.name: plugin.error for plugin in plugins if plugin.error}
    found: dict[str, Any] = {
        "machine": hardware.describe() | {"kernels": hardware.kernels()},
        "missing_extras": missing_extras(),
        "browser": next(filter(None, map(shutil.which, _BROWSERS)), None),
        "broken_plugins": broken,
        "runs": {str(path): _check_run(path) for path in runs},
    }
    if as_json:
        write_json(found)
    else:
        _show(found, len(plugins))
    if broken or any(found["runs"].values()):
        raise typer.Exit(1)


def missing_extras() -> dict[str, list[str]]:
    """Return the extras that are not wholly installed, with the packages that they lack."""
    missing: dict[str, list[str]] = {}
    for requirement in requires(BUILTIN) or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if extra is not None and extra[1] in _FOR_USERS:
            package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            try:
                version(package)
            except PackageNotFoundError:
                missing.setdefault(extra[1], []).append(package)
    return missing


def _show(found: dict[str, Any], plugins: int) -> None:
    echo("machine")
    write_columns([[key, _text(value)] for key, value in found["machine"].items()])
    missing = found["missing_extras"]
    echo("extras")
    write_columns([[extra, _state(extra, missing.get(extra, ()))] for extra in _FOR_USERS])
    browser = found["browser"] or "missing; only tests of the board need it: apt-get install chromium"
    echo(f"browser: {browser}")
    broken = found["broken_plugins"]
    echo(f"plugins: {plugins - len(broken)} ok, {len(broken)} broken")
    write_columns([[name, error] for name, error in broken.items()])
    for name, problems in found["runs"].items():
        say(f"run {name}: {'whole' if not problems else f'{len(problems)} problems'}")
        write_columns([[problem] for problem in problems])


def _state(extra: str, missing: Sequence[str]) -> str:
    return f"lacks {', '.join(missing)}; pip install '{BUILTIN}[{extra}]'" if missing else "installed"


def _check_run(path: Path) -> list[str]:
    """Everything that is wrong with a run: records that are not those of the result, or cells that are not complete."""
    try:
        run = RunDirectory.existing(path)
        journals = run.journals()
        run.planned()
        failures = run.failures()
    except UserError as error:
        return [str(error)]
    problems = [*map(str, run.changed()), *(f"failed: {reason}" for reason in failures.values())]
    for journal in journals:
        try:
            if journal.result() is None:
                done = sum(1 for _ in journal.records())
                problems.append(
                    f"cell {journal.folder.name} is not complete: {done} records; run the same command again"
                )
            journal.check()
        except UserError as error:
            problems.append(str(error))
    return problems


def _text(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
