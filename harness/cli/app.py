"""The commands and their options. Each command's work is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="adaptbench",
    help="What does this adapted model get right, and what does it cost?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
plugin_app = typer.Typer(help="List, make and check plugins.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(plugin_app, name="plugin")

Plugins = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads this at run time
    typer.Option("--plugin", metavar="FILE|MODULE", help="Load this plugin too; may be given several times."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for a program to read.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"adaptbench {version('adaptbench')}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options that stand before a command."""


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="models, methods, tasks, suites, reports, or all.")] = "all",
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show the models, methods, tasks and suites that there are."""
    from .listing import show_names

    show_names(kind, plugin or (), as_json=json)


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or a suite file; or use --model and --task.")] = "",
    model: Annotated[Optional[list[str]], typer.Option(help="Model spec; may be given several times.")] = None,  # noqa: UP045
    task: Annotated[Optional[list[str]], typer.Option(help="Task; may be given several times.")] = None,  # noqa: UP045
    budget: Annotated[Optional[list[float]], typer.Option(help="Budget in (0, 1], for models that take one.")] = None,  # noqa: UP045
    seed: Annotated[Optional[list[int]], typer.Option(help="Seed; may be given several times.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Run directory; default runs/SUITE.")] = None,  # noqa: UP045
    limit: Annotated[Optional[int], typer.Option(help="Only the first N samples: a partial run, never ranked.")] = None,  # noqa: UP045
    sample: Annotated[Optional[int], typer.Option(help="Only N samples drawn by the seed: a partial run.")] = None,  # noqa: UP045
    batch_size: Annotated[Optional[int], typer.Option(help="Inputs in a batch; default 64.")] = None,  # noqa: UP045
    device: Annotated[Optional[str], typer.Option(help="Where models run: cpu (default), cuda, cuda:1.")] = None,  # noqa: UP045
    waive: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--waive-op", help="Let this operator go uncounted in FLOPs; it is named on the board."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the cells and stop.")] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run models on tasks; the same command again goes on where it was stopped."""
    from .running import RunOptions, run_command

    run_command(
        RunOptions(
            suite=suite,
            models=tuple(model or ()),
            tasks=tuple(task or ()),
            budgets=tuple(budget or ()),
            seeds=tuple(seed or ()),
            out=out,
            limit=limit,
            sample=sample,
            batch_size=batch_size,
            device=device,
            waive=tuple(waive or ()),
            dry_run=dry_run,
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories; their cells are put on one board.")],
    out: Annotated[Optional[list[Path]], typer.Option(help="File to write; its ending chooses the format.")] = None,  # noqa: UP045
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Make a leaderboard: .html, .md, .csv, .parquet, or charts as .svg and .pdf. Default: RUN/leaderboard.html."""
    from .reporting import write_reports

    write_reports(runs, out or [], plugin or (), as_json=json)


@app.command()
def score(
    task: Annotated[str, typer.Argument(help="Task whose scoring rule to use.")],
    predictions: Annotated[
        Path, typer.Option(help="JSON lines with the fields sample and output, or a cell's folder.")
    ],
    seed: Annotated[int, typer.Option(help="Seed of the task's samples.")] = 0,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Score outputs that were made elsewhere, or score a run's raw outputs again."""
    from .scoring import score_predictions

    score_predictions(task, predictions, seed, plugin or (), as_json=json)


@app.command()
def doctor(
    runs: Annotated[Optional[list[Path]], typer.Argument(help="Run directories to check as well.")] = None,  # noqa: UP045
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Say what this machine has, whether every plugin works, and whether runs are whole."""
    from .doctor import examine

    examine(runs or [], plugin or (), as_json=json)


@plugin_app.command("list")
def plugin_list(plugin: Plugins = None, json: Json = False) -> None:
    """Show every plugin: where it comes from, what it registers, or why it is broken."""
    from .listing import show_plugins

    show_plugins(plugin or (), as_json=json)


@plugin_app.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="Name of the new package, such as my-models.")],
    folder: Annotated[Path, typer.Option("--in", help="Where to make it.")] = Path(),
) -> None:
    """Write a plugin package with a model, a task and a test."""
    from .plugin_new import write_package

    typer.echo(f"{write_package(name, folder)}")


@plugin_app.command("check")
def plugin_check(
    name: Annotated[str, typer.Argument(help="An installed plugin, a file, or a module.")],
    json: Json = False,
) -> None:
    """Check a plugin's models and tasks against their contracts."""
    from .plugin_check import check_plugin

    check_plugin(name, as_json=json)
