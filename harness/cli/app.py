"""The commands and their options. Each command's work is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .gate_command import gate
from .groups import App, Group, show_help
from .import_app import import_results
from .options import AverageTokens, EndTokens, Flops, Json, Plugins, Tokens, named
from .plugin_app import plugin_app
from .run_command import run

app = App(
    name="adaptbench",
    cls=Group,
    help="What does this adapted model get right, and what does it cost?",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(plugin_app, name="plugin")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"adaptbench {version('adaptbench')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001 - `main` reads it
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options before a command."""
    show_help(context)


@app.command("list")
def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            help="models, methods, tasks, suites, reports, figures, architectures, recipes, importers, or all."
        ),
    ] = "all",
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show models, methods, tasks and suites."""
    from .listing import show_names

    show_names(kind, plugin or (), as_json=json)


app.command()(run)


@app.command()
def cost(
    specs: Annotated[
        list[str],
        typer.Argument(
            help="Architectures with methods, such as llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l; a hub id, folder or "
            "config.json. Several make one table.",
            autocompletion=named("architecture"),
        ),
    ],
    text_tokens: Annotated[int, typer.Option(help="Tokens of the prompt that are not visual.")] = 64,
    visual_tokens: Annotated[Optional[int], typer.Option(help="Visual tokens; default all of the images.")] = None,  # noqa: UP045
    images: Annotated[int, typer.Option(help="Images of each prompt.")] = 1,
    image_size: Annotated[Optional[int], typer.Option(help="Pixels a side; default what the config states.")] = None,  # noqa: UP045
    batch: Annotated[int, typer.Option(help="Prompts per batch.")] = 1,
    budget: Annotated[Optional[list[float]], typer.Option(help="Budget in (0, 1]; may be given several times.")] = None,  # noqa: UP045
    tokens: Tokens = None,
    average_tokens: AverageTokens = None,
    end_tokens: EndTokens = None,
    flops: Flops = None,
    hardware: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Predict time on V100, A100-80G, H100-SXM, ... or on hardware described in a YAML file."),
    ] = None,
    tensor_parallel: Annotated[int, typer.Option(help="Cards that share every block.")] = 1,
    pipeline_parallel: Annotated[int, typer.Option(help="Stages of blocks, each on cards of its own.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, fp8 or int8.")] = "fp16",
    preset: Annotated[
        str, typer.Option(help="What the closed form counts: default, llm-viewer or counted.")
    ] = "default",
    attention: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="fused (one kernel) or eager (three, with their scores in memory); default the preset's."),
    ] = None,
    by: Annotated[str, typer.Option(help="Also break the cost down by module or operator.")] = "phase",
    count: Annotated[bool, typer.Option(help="Also count on the real modules, and compare.")] = True,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also time it on this machine, with random weights.")
    ] = False,
    out: Annotated[Optional[Path], typer.Option(help="Also draw it, as .svg, .pdf, .png or .html.")] = None,  # noqa: UP045
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show what models cost, from their configs alone."""
    from ..sizes import sizes
    from .cost import CostOptions, show_cost

    show_cost(
        CostOptions(
            specs=tuple(specs),
            text_tokens=text_tokens,
            visual_tokens=visual_tokens,
            images=images,
            image_size=image_size,
            batch=batch,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            budgets=tuple(budget or ()),
            sizes=sizes(tokens, average_tokens, end_tokens, flops, text_tokens=text_tokens),
            hardware=tuple(hardware or ()),
            precision=precision,
            preset=preset,
            attention=attention,
            by=by,
            count=count,
            measure=measure,
            out=out,
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run directories, or folders of them; default the latest run.")
    ] = None,
    out: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="File to write; its ending chooses the format, and a name without one is a folder."),
    ] = None,
    table: Annotated[
        str,
        typer.Option(
            help="Report to write instead of the leaderboard: seeds, findings, ... (`adaptbench list reports`).",
            autocompletion=named("report"),
        ),
    ] = "",
    baseline: Annotated[str, typer.Option(help="Compare every other model with this one instead.")] = "",
    hardware: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Predict prefill times for V100, A100-80G, ... or your own YAML file; may be repeated."),
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Write a leaderboard or another report of runs.

    A leaderboard is .html, .md, .csv, .parquet or .tex, or charts as .svg and .pdf; without an ending it is a folder, a
    site of several pages with every sample. Default: RUN/leaderboard.html, of a large run RUN/leaderboard/, with the
    reports that the run's suite names; or RUN/TABLE.html.
    """
    from .reporting import ReportOptions, write_reports

    write_reports(
        ReportOptions(
            runs=runs or (),
            outs=out or (),
            name=table,
            baseline=baseline,
            hardware=hardware or (),
            plugins=plugin or (),
            as_json=json,
        )
    )


@app.command()
def compare(
    baseline_run: Annotated[
        str, typer.Argument(metavar="BASELINE", help="Run directory of the baseline; RUN#SPEC for one model of it.")
    ],
    candidate_run: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="Run of the candidate; default the same run.")
    ] = "",
    baseline: Annotated[str, typer.Option(help="Model of the baseline; default all.")] = "",
    candidate: Annotated[str, typer.Option(help="Model of the candidate; default all.")] = "",
    out: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="File to write: .html, .md, .json or .txt; default the terminal."),
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Samples that flipped to show, of each direction.")] = 10,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Compare two runs, or two models of one run.

    Per task: difference with interval and p value, share retained, cost ratios, and the samples that flipped.
    """
    from .comparing import CompareOptions, compare_sides

    compare_sides(
        CompareOptions(
            sides=tuple(filter(None, (baseline_run, candidate_run))),
            baseline=baseline,
            candidate=candidate,
            outs=tuple(out or ()),
            samples=samples,
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )


app.command()(gate)


@app.command()
def figure(
    name: Annotated[
        str, typer.Argument(help="Figure, with its arguments: plans(budget=0.7).", autocompletion=named("figure"))
    ] = "",
    runs: Annotated[Optional[list[Path]], typer.Argument(help="Run directories, or folders of them.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="File to write: .svg, .pdf, .png or .html.")] = None,  # noqa: UP045
    task: Annotated[Optional[str], typer.Option(help="Only this task.", autocompletion=named("task"))] = None,  # noqa: UP045
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Only this model, with or without a budget; may be given several times."),
    ] = None,
    sample: Annotated[Optional[str], typer.Option(help="Id of the sample, for figures of one.")] = None,  # noqa: UP045
    names: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Draw a figure from runs: curves, plans, attention."""
    if names:
        from .listing import show_names

        show_names("figures", plugin or (), as_json=json)
        return
    from .figure import FigureOptions, draw_figure

    draw_figure(
        FigureOptions(
            name=name,
            runs=runs or (),
            out=out,
            task=task,
            models=model or (),
            sample=sample,
            plugins=plugin or (),
        )
    )


@app.command()
def score(
    task: Annotated[str, typer.Argument(help="Task whose scoring rule to use.", autocompletion=named("task"))],
    predictions: Annotated[
        Path, typer.Option(help="A cell's folder, JSON lines with the fields sample and output, or the task's formats.")
    ],
    annotations: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Official file or folder with the answers; default the task's own data."),
    ] = None,
    questions: Annotated[Optional[str], typer.Option(help="Question file of the predictions.")] = None,  # noqa: UP045
    rule: Annotated[
        Optional[str], typer.Option(help="Scoring rule: official, lmms-eval, vlmevalkit, or all.")  # noqa: UP045
    ] = None,
    breakdown: Annotated[bool, typer.Option("--breakdown", help="Also show every subset.")] = False,
    submission: Annotated[
        Optional[Path], typer.Option(help="Write the file for the benchmark's server.")  # noqa: UP045
    ] = None,
    disagreements: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write the samples that the rules score otherwise, as .json or .md; asks for all rules."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the task's samples.")] = 0,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Score predictions made elsewhere, or the raw outputs of a run."""
    from .scoring import Scoring, score_predictions

    given = {"annotations": annotations, "questions": questions}
    score_predictions(
        Scoring(
            task=task,
            predictions=predictions,
            arguments={name: value for name, value in given.items() if value is not None},
            seed=seed,
            rule=rule,
            breakdown=breakdown,
            submission=submission,
            disagreements=disagreements,
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )


app.command("import")(import_results)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(help="Recipe, with its arguments: tiny-llava(scenes=100).", autocompletion=named("recipe")),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the model; resumed if it exists.")],
    plugin: Plugins = None,
) -> None:
    """Train a model by a recipe. Run the same command again to resume.

    The recipe's arguments may also be options: --steps 100.
    """
    from .training import train_recipe

    train_recipe(recipe, out, context.args, plugin or ())


@app.command()
def select(
    target: Annotated[
        list[str],
        typer.Option(help="Few-shot task to prepare for; may be given several times.", autocompletion=named("task")),
    ],
    candidates: Annotated[
        list[str],
        typer.Option(help="Few-shot task to select from; may be given several times.", autocompletion=named("task")),
    ],
    encoder: Annotated[str, typer.Option(help="Model whose embeddings decide.", autocompletion=named("model"))],
    out: Annotated[Path, typer.Option(help="Folder for embeddings and results; resumed if it exists.")],
    level: Annotated[str, typer.Option(help="What a candidate is: task (an episode) or dataset (a source).")] = "task",
    mode: Annotated[
        str, typer.Option(help="selected (Algorithm 1), all, first-k (most similar) or random; see --count.")
    ] = "selected",
    threshold: Annotated[float, typer.Option(help="How much a task must raise the coverage, as a share.")] = 0.01,
    min_tasks: Annotated[int, typer.Option(help="Select no fewer candidates.")] = 1,
    max_tasks: Annotated[Optional[int], typer.Option(help="Select no more candidates.")] = None,  # noqa: UP045
    count: Annotated[Optional[int], typer.Option(help="Candidates of first-k and random.")] = None,  # noqa: UP045
    similarity: Annotated[
        str, typer.Option(help="Of means (mean), or of first principal components (component).")
    ] = "mean",
    coverage: Annotated[str, typer.Option(help="Projected, or plain (the dissertation's).")] = "projected",
    compare: Annotated[bool, typer.Option(help="Also show the plain formula: an inverse for each candidate.")] = True,
    figure: Annotated[Optional[Path], typer.Option(help="Also draw it, as .svg, .pdf, .png or .html.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(min=0, help="Of what sources draw, and of random.")] = 0,
    batch_size: Annotated[Optional[int], typer.Option(min=1, help="Images per batch; default 64.")] = None,  # noqa: UP045
    device: Annotated[Optional[str], typer.Option(help="Where the encoder runs: cpu (default), cuda, cuda:1.")] = None,  # noqa: UP045
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Select the tasks to finetune on for a target.

    OUT/tasks.json lists them for the task `task-list:OUT/tasks.json`.
    """
    from .selecting import SelectOptions, select_command

    select_command(
        SelectOptions(
            targets=tuple(target),
            candidates=tuple(candidates),
            encoder=encoder,
            out=out,
            level=level,
            mode=mode,
            threshold=threshold,
            min_tasks=min_tasks,
            max_tasks=max_tasks,
            count=count,
            similarity=similarity,
            coverage=coverage,
            compare=compare,
            figure=figure,
            seed=seed,
            batch_size=batch_size,
            device=device,
            plugins=tuple(plugin or ()),
            as_json=json,
        )
    )


@app.command()
def doctor(
    runs: Annotated[Optional[list[Path]], typer.Argument(help="Run directories to check as well.")] = None,  # noqa: UP045
    cost: Annotated[bool, typer.Option("--cost", help="Check the cost engine on known cases instead.")] = False,
    architectures: Annotated[bool, typer.Option("--architectures", help="Price all of transformers instead.")] = False,
    real: Annotated[bool, typer.Option("--real", help="With --architectures: run small models for real.")] = False,
    journal: Annotated[Optional[Path], typer.Option(help="What --architectures found so far.")] = None,  # noqa: UP045
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Check the machine, extras, plugins and runs.

    Exit status 1 if a plugin is broken or a run is incomplete. Missing extras are not errors.
    """
    from .doctor import examine, examine_architectures, examine_costs

    if architectures:
        examine_architectures(plugin or (), journal=journal, real=real, as_json=json)
    elif cost:
        examine_costs(plugin or (), as_json=json)
    else:
        examine(runs or [], plugin or (), as_json=json)
