"""Options that commands share, and how names are completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..registry import Kind

Plugins = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this at run time
    typer.Option("--plugin", metavar="FILE|MODULE", help="Load this plugin too; may be given several times."),
]
Tokens = Annotated[
    Optional[list[int]],  # noqa: UP045
    typer.Option(
        "--tokens", min=0, help="Have each model's method let this many visual tokens enter the language model."
    ),
]
AverageTokens = Annotated[
    Optional[list[float]],  # noqa: UP045
    typer.Option("--average-tokens", min=0, help="The same on average over its blocks, which can be compared."),
]
EndTokens = Annotated[
    Optional[list[int]],  # noqa: UP045
    typer.Option("--end-tokens", min=0, help="The same in its last block."),
]
Flops = Annotated[
    Optional[list[float]],  # noqa: UP045
    typer.Option("--flops", help="The same by FLOPs: at most this share of the base's, vision tower included."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]


def named(kind: Kind) -> Callable[[str], list[str]]:
    """Complete a registered name in the shell."""

    def complete(incomplete: str) -> list[str]:
        from ..plugins import load_plugins

        return [entry.name for entry in load_plugins().registry.entries(kind) if entry.name.startswith(incomplete)]

    return complete
