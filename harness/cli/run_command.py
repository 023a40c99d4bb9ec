"""The options of ``adaptbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import AverageTokens, EndTokens, Flops, Json, Plugins, Tokens, named


def run(
    suite: Annotated[
        str,
        typer.Argument(
            help="Name of a suite, or a suite file; none, if --model and --task say it all.",
            autocompletion=named("suite"),
        ),
    ] = "",
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Model spec, besides those of the suite; may be given several times.",
            autocompletion=named("model"),
        ),
    ] = None,
    task: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Task, besides those of the suite; may be given several times.", autocompletion=named("task")
        ),
    ] = None,
    budget: Annotated[
        Optional[list[float]],  # noqa: UP045
        typer.Option(help="Budget in (0, 1], for models that take one, instead of the suite's."),
    ] = None,
    tokens: Tokens = None,
    average_tokens: AverageTokens = None,
    end_tokens: EndTokens = None,
    flops: Flops = None,
    text_tokens: Annotated[int, typer.Option(min=0, help="Tokens of text in the prompt that --flops means.")] = 64,
    visual_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Visual tokens of the image that is meant, for models that take any size."),
    ] = None,
    seed: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=0, help="Seed, instead of the suite's; may be given several times."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Run directory; default runs/SUITE, or runs/latest without a suite."),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Only the first N samples: a partial run, never ranked."),
    ] = None,
    sample: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Only N samples drawn by the seed: a partial run, never ranked."),
    ] = None,
    batch_size: Annotated[Optional[int], typer.Option(min=1, help="Inputs per batch; default 64.")] = None,  # noqa: UP045
    device: Annotated[Optional[str], typer.Option(help="Where models run: cpu (default), cuda, cuda:1.")] = None,  # noqa: UP045
    waive: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--waive-op", help="Leave this operator out of FLOPs; the board names it."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the cells and stop.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")] = False,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Measure no times; FLOPs are counted.")] = False,
    executor: Annotated[
        str, typer.Option(help="What does the work: in-process, processes of this machine, or ray.")
    ] = "in-process",
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many processes or actors; default one for each GPU, or up to 4.")
    ] = None,
    devices: Annotated[
        str, typer.Option(help="A worker of processes for each of these: cuda:0,cuda:1, or cpu,cpu.")
    ] = "",
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Threads of each worker; default all, or a share of them. Bits depend on it."),
    ] = None,
    ray_address: Annotated[
        str, typer.Option(help="Ray cluster to run on, such as auto; default one of this machine, for this run alone.")
    ] = "",
    gpus_per_cell: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each of Ray's workers; default 1 if models run on cuda.")
    ] = None,
    memory_per_cell: Annotated[
        float | None, typer.Option(min=0, help="Memory that each of Ray's workers reserves, in GiB.")
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only part I of N, as for an array of Slurm jobs.")] = "",
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run models on tasks.

    Run the same command again to resume.
    """
    from ..errors import UserError
    from ..sizes import TEXT_TOKENS, sizes
    from .crews import CrewOptions
    from .running import RunOptions, run_command

    asked = sizes(tokens, average_tokens, end_tokens, flops, text_tokens=text_tokens, visual_tokens=visual_tokens)
    if not asked and (text_tokens, visual_tokens) != (TEXT_TOKENS, None):
        todo = "ask for one: --tokens, --average-tokens, --end-tokens or --flops"
        raise UserError("--text-tokens and --visual-tokens describe the prompt of a size, and none is asked", todo=todo)
    run_command(
        RunOptions(
            suite=suite,
            models=tuple(model or ()),
            tasks=tuple(task or ()),
            budgets=tuple(budget or ()),
            sizes=asked,
            seeds=tuple(seed or ()),
            out=out,
            limit=limit,
            sample=sample,
            batch_size=batch_size,
            device=device,
            waive=tuple(waive or ()),
            dry_run=dry_run,
            fail_fast=fail_fast,
            timing=not no_timing,
            crew=CrewOptions(executor, workers, devices, threads, shard, ray_address, gpus_per_cell, memory_per_cell),
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )
