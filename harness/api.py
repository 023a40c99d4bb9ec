"""What is done from Python: running, loading, scoring, comparing, reporting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .comparison import SampleReader, Side
from .comparison import compare as compare_sides
from .errors import UserError
from .faults import blamed_on
from .identity import BoundModel, Settings
from .measure.hardware import check_device
from .outputs import ReportRequest, file_form, write_report
from .planned_models import plan_model
from .planning import Request, plan
from .plugins import load_plugins
from .runner import RunResult, RunSpec, execute
from .samples import SampleLimit
from .scoring import scores_of
from .specs import Call, parse
from .store import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .comparison import Comparison
    from .progress import Progress
    from .sizes import Size


class RunOptions(TypedDict, total=False):
    """Options of `run`; each may be left out."""

    out: str | Path
    """Run directory; default ``runs/latest``. Run again with the same one to go on where it was stopped."""
    budgets: Sequence[float]
    seeds: Sequence[int]
    sizes: Sequence[Size]
    """Visual tokens, or FLOPs, of models whose method leaves its size open: ``[adaptbench.Size("tokens", 16)]``."""
    limit: int
    """Run only the first N samples: a partial run, never ranked."""
    sample: int
    """Run only N samples, drawn with the seed: a partial run."""
    device: str
    """Where models that can choose run: ``cpu`` (default), ``cuda``, ``cuda:1``."""
    batch_size: int
    """Inputs in a batch; default 64."""
    timing: bool
    """Whether times are measured; default true."""
    settings: Settings
    """All of how models are run; ``device`` and ``batch_size`` come on top of it."""
    plugins: Sequence[str | object]
    """Plugin files, modules or objects to load besides the installed ones."""
    progress: Progress


def run(models: Any, tasks: Any, **options: Unpack[RunOptions]) -> RunResult:
    """Run models on tasks.

    Args:
        models: A model spec such as ``"pixels"``, an object with a method ``embed`` or ``generate``, or a list of
            these.
        tasks: A task spec such as ``"glyphs-15way-1shot"``, a `Task`, or a list of these.
        options: See `RunOptions`.

    Returns:
        The results, one per cell; ``.to_pandas()`` makes a table of them.

    Raises:
        UserError: Something that the caller can fix; what was recorded so far stays.
        TypeError: There is no such option.
    """
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"run() has no option {', '.join(sorted(unknown))}; it has {', '.join(RunOptions.__annotations__)}"
        )
    plugins = load_plugins(options.get("plugins", ()))
    request = Request(
        _listed(models),
        _listed(tasks),
        options.get("budgets", ()),
        options.get("seeds", (0,)),
        sizes=options.get("sizes", ()),
    )
    spec = RunSpec(
        plan=plan(plugins.registry, request),
        out=Path(options.get("out", "runs/latest")),
        settings=_settings(options),
        limit=SampleLimit(options.get("limit"), options.get("sample")),
        command="adaptbench.run",
        timing=options.get("timing", True),
    )
    return execute(plugins, spec, options.get("progress"))


def load(spec: str, *, device: str = "cpu", seed: int = 0, plugins: Sequence[str | object] = ()) -> Any:
    """Build the model that a spec names, with its methods and at its budget, to use without a run.

    Args:
        spec: Such as ``"vit-glyphs"`` or ``"tiny-llava+fastv(k=2,r=0.5)"``.
        device: Where it is put if it can choose: ``cpu``, ``cuda``, ``cuda:1``.
        seed: Of models that draw.
        plugins: Plugin files, modules or objects to load besides the installed ones.

    Returns:
        The model: with ``embed(images)``, ``generate(prompts)`` or ``loglikelihood(pairs)``, as its card says.

    Raises:
        UserError: The spec is wrong, the device is not here, or the model cannot be built.
    """
    if not isinstance(spec, str):
        raise UserError(f"a spec is a text, not a {type(spec).__name__}", where="load()", todo='write "tiny-llava"')
    check_device(device)
    model = plan_model(load_plugins(plugins).registry, parse(spec)).seeded(seed)
    with blamed_on(f"model {model.spec}", "load()"):
        return BoundModel(model, model.bind(seed=seed, device=device)).load()


def compare(
    baseline: str | Path | RunResult,
    candidate: str | Path | RunResult | None = None,
    *,
    baseline_model: str = "",
    candidate_model: str = "",
    samples: int = 0,
    plugins: Sequence[str | object] = (),
) -> Comparison:
    """Compare two runs, or two models of one run, as ``adaptbench compare`` does.

    Args:
        baseline: Run directory, ``RUN#SPEC`` for one model of it, or what `run` returned.
        candidate: Likewise; default the same run.
        baseline_model: Model spec of the baseline; empty for all.
        candidate_model: Model spec of the candidate; empty for all.
        samples: How many of the samples that flipped are read, of each direction.
        plugins: As for `run`.

    Returns:
        A pydantic model; ``.to_pandas()`` makes a table of it, ``.model_dump_json()`` JSON.

    Raises:
        UserError: A run or a model does not exist, or there is nothing to compare.
    """
    reader = SampleReader(load_plugins(plugins).registry, samples)
    one = _side(baseline, baseline_model)
    return compare_sides(one, _side(one.run.path if candidate is None else candidate, candidate_model), reader)


def report(
    runs: str | Path | RunResult | Sequence[str | Path | RunResult],
    out: str | Path,
    name: str = "",
    *,
    plugins: Sequence[str | object] = (),
    **arguments: Any,
) -> Path:
    """Write a report of runs to a file or a folder, as ``adaptbench report`` does.

    Args:
        runs: Run directories, or what `run` returned.
        out: The file; its ending chooses the format. Without an ending, a folder.
        name: Such as ``"leaderboard"``, which is the default, or ``"comparison"``.
        plugins: As for `run`.
        arguments: Of the report, such as ``baseline="vit-glyphs"``.

    Returns:
        The file or the folder.

    Raises:
        UserError: A run or a report does not exist, or the report is not written in that format.
    """
    found = load_plugins(plugins)
    entry = found.registry.find("report", name or "leaderboard")
    form = file_form(Path(out), entry.card.formats, f"the report {entry.name!r}")
    directories = tuple(RunDirectory.existing(_path(one)) for one in _listed(runs))
    bound = entry.bind(Call(entry.name, args=tuple(arguments.items())))
    request = ReportRequest(runs=directories, plugins=found, form=form)
    write_report(Path(out), form, entry.make(request, **bound))
    return Path(out)


def score(
    task: str,
    predictions: str | Path,
    *,
    rule: str | None = None,
    seed: int = 0,
    plugins: Sequence[str | object] = (),
    **arguments: Any,
) -> list[dict[str, Any]]:
    """Score predictions made elsewhere, or the raw outputs of a run, as ``adaptbench score --json`` does.

    Args:
        task: Task spec.
        predictions: A cell's folder, JSON lines with the fields sample and output, or one of the task's formats.
        rule: A rule of the task, ``"all"`` of them, or ``None`` for its own.
        seed: Of the task's samples.
        plugins: As for `run`.
        arguments: Further arguments of the task, such as ``annotations``.

    Returns:
        One dictionary per rule: ``rule``, counts of samples, ``metrics`` (name -> value, low, high, n), ``breakdown``.

    Raises:
        UserError: Task or rule do not exist, or the file cannot be read.
    """
    registry = load_plugins(plugins).registry
    return scores_of(registry, task, Path(predictions), rule=rule, seed=seed, arguments=arguments).by_rule


def _settings(options: RunOptions) -> Settings:
    settings = options.get("settings", Settings())
    device, batch_size = options.get("device", settings.device), options.get("batch_size", settings.batch_size)
    if batch_size < 1:
        raise UserError(f"{batch_size} inputs make no batch", where="batch_size", todo="ask for one or more")
    return replace(settings, device=device, batch_size=batch_size)


def _side(run: str | Path | RunResult, model: str) -> Side:
    side = Side.at(_path(run))
    return Side.of(side.run, model) if model else side


def _path(run: str | Path | RunResult) -> str | Path:
    return run.path if isinstance(run, RunResult) else run


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
