"""The options of ``adaptbench gate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import Json, Plugins  # noqa: TC001 - typer reads them at run time

_Paths = Optional[list[Path]]  # noqa: UP045 - typer reads these at run time
_Path = Optional[Path]  # noqa: UP045
_Texts = Optional[list[str]]  # noqa: UP045


def gate(
    suite: Annotated[str, typer.Argument(help="Suite whose cells are checked, or a suite file.")] = "",
    update: Annotated[bool, typer.Option("--update", help="Renew the baseline, and show what changes.")] = False,
    base: Annotated[_Path, typer.Option(help="Checkout of the base, to time against.")] = None,
    base_python: Annotated[_Path, typer.Option(help="Interpreter of the base's environment.")] = None,
    model: Annotated[str, typer.Option(help="Without a suite: time this model ...")] = "",
    base_model: Annotated[str, typer.Option(help="... against this one ...")] = "",
    task: Annotated[str, typer.Option(help="... on this task.")] = "",
    check: Annotated[_Texts, typer.Option(help="Only exact, accuracy or time; may be given several times.")] = None,
    baselines: Annotated[Path, typer.Option(help="Folder of the baselines, one file per suite.")] = Path(
        "ci/baselines"
    ),
    margin: Annotated[float, typer.Option(help="Loss of accuracy that must be ruled out.")] = 0.02,
    slower: Annotated[float, typer.Option(help="Head / base in time that is too much.")] = 1.03,
    pairs: Annotated[int, typer.Option(help="Repetitions of each side.")] = 21,
    processes: Annotated[
        int, typer.Option(help="Times that each side is started anew; fewer where loading takes long.")
    ] = 21,
    seconds: Annotated[float, typer.Option(help="How long a repetition lasts at least.")] = 0.5,
    clock: Annotated[str, typer.Option(help="wall, or processor: steadier where others use the machine.")] = "wall",
    seed: Annotated[int, typer.Option(min=0, help="Of the order within pairs.")] = 0,
    batch_size: Annotated[Optional[int], typer.Option(min=1, help="Inputs per batch; default 64.")] = None,  # noqa: UP045
    device: Annotated[Optional[str], typer.Option(help="Where models run: cpu (default), cuda, cuda:1.")] = None,  # noqa: UP045
    benchmarks: Annotated[
        _Paths, typer.Option(help="Judge files of pytest-benchmark instead: a folder of base's, then one of head's.")
    ] = None,
    markdown: Annotated[_Path, typer.Option(help="Append the table to this file: $GITHUB_STEP_SUMMARY.")] = None,
    junit: Annotated[_Path, typer.Option(help="Write JUnit XML.")] = None,
    benchmark_json: Annotated[_Path, typer.Option(help="Write the times as pytest-benchmark does.")] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="Prove the gate itself; about an hour.")] = False,
    out: Annotated[
        _Path, typer.Option(help="Run directory to keep; of the self-test, the folder that it goes on in.")
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Check in CI that a change breaks and slows nothing.

    A suite is compared with its baseline and, if a base is given, timed against it.

    Exit status 0: passed; 10: something exact changed; 11: accuracy lost; 12: slower; 13: cannot be judged; 14: the
    self-test failed.
    """
    from .gating import GateOptions, gate_command

    options = GateOptions(
        suite=suite, update=update, base=base, base_python=base_python, model=model, base_model=base_model, task=task,
        checks=tuple(check or ()), baselines=baselines, margin=margin, slower=slower, pairs=pairs, processes=processes,
        seconds=seconds, clock=clock, seed=seed, batch_size=batch_size, device=device,
        benchmarks=tuple(benchmarks or ()), markdown=markdown, junit=junit, benchmark_json=benchmark_json, out=out,
        plugins=tuple(plugin or ()), as_json=json,
    )  # fmt: skip
    gate_command(options, self_test=self_test)
