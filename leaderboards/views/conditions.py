"""Cards, and the conditions of runs: what was run, where, and by which versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import wording

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...harness.cards import Card
    from ...harness.store import Session
    from ..board import Board
    from ..collect import Run
    from ..ranking import Section


def card_views(board: Board) -> dict[str, list[dict[str, Any]]]:
    """The cards of models, methods and tasks, each once."""
    models: dict[str, Card] = {}
    methods: dict[str, Card] = {}
    tasks: dict[str, Card] = {}
    for section in board.sections:
        tasks.setdefault(section.task, section.card)
        for standing in section.standings:
            result = standing.row.result
            models.setdefault(result.cell.model, result.model_card)
            methods |= result.method_cards
    kinds = {"models": models, "methods": methods, "task_cards": tasks}
    return {kind: [_card(name, card) for name, card in found.items()] for kind, found in kinds.items()}


def run_view(run: Run, sections: Iterable[Section]) -> dict[str, Any]:
    """The conditions of one run."""
    rows = [s.row for section in sections for s in section.standings if s.row.run is run]
    settings = {", ".join(f"{name} {value}" for name, value in sorted(row.result.settings.items())) for row in rows}
    samples = {f"{row.result.cell.task}: {row.result.samples_digest[:16]}" for row in rows}
    return {
        "name": run.name,
        "facts": _kept(
            {
                "created": utc(run.manifest.created),
                "cells": f"{len(run.manifest.cells)}, of which complete {len(rows)}",
                "settings": sorted(settings),
                "episode manifests": list(run.episodes),
                "samples": sorted(samples),
            }
        ),
        "sessions": [_session(session) for session in run.manifest.sessions],
    }


def _card(name: str, card: Card) -> dict[str, Any]:
    fields = card.model_dump(mode="json", exclude={"summary", "reference"})
    if "metrics" in fields:
        fields["metrics"] = [f"{wording.with_unit(m)}: {m.better} is better" for m in getattr(card, "metrics", ())]
    shown = {
        field.replace("_", " "): sorted(value) if isinstance(value, list) else str(value)
        for field, value in fields.items()
        if value not in (None, "", [], {}, False)
    }
    return {"name": name, "summary": card.summary, "facts": _kept(shown)}


def _session(session: Session) -> dict[str, Any]:
    environment = session.environment
    memory, gpu = environment.get("memory_bytes"), environment.get("gpu")
    shown = {
        "command": session.command,
        "machine": str(environment.get("machine", "")),
        "platform": str(environment.get("platform", "")),
        "kernels": ", ".join(f"{name} {kernel}" for name, kernel in session.kernels.items()),
        "memory": wording.si(memory, "B") if isinstance(memory, int) else "",
        "GPU": ", ".join(f"{name} {value}" for name, value in gpu.items()) if isinstance(gpu, dict) else "",
        "Python": str(environment.get("python", "")),
        "git revision": str(environment.get("git_revision", "")),
        "packages": ", ".join(f"{name} {version}" for name, version in packages(session).items()),
    }
    return {"name": session.id, "started": utc(session.started), "facts": _kept(shown)}


def packages(session: Session) -> dict[str, str]:
    """The packages that a session used, with their versions."""
    found = session.environment.get("packages")
    return found if isinstance(found, dict) else {}


def revision(session: Session) -> str:
    """The git revision that a session ran, in brackets, if it is known."""
    revision = session.environment.get("git_revision")
    return f" ({revision})" if revision else ""


def made_with(session: Session) -> str:
    """The version that ran a session; of imported results the tool that did."""
    found = packages(session)
    if found and "adaptbench" not in found:
        return ", ".join(f"{tool} {version}" for tool, version in found.items())
    return f"adaptbench {found.get('adaptbench', '?')}{revision(session)}"


def utc(stamp: str) -> str:
    """An ISO 8601 time in UTC, to the minute."""
    return f"{stamp[:10]} {stamp[11:16]} UTC" if len(stamp) > 16 else stamp


def _kept(pairs: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in pairs.items() if value]
