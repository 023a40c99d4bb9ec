"""Running and loading models from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .errors import UserError
from .faults import blamed_on
from .identity import BoundModel, Settings
from .measure.hardware import check_device
from .planned_models import plan_model
from .planning import Request, plan
from .plugins import load_plugins
from .runner import RunResult, RunSpec, execute
from .samples import SampleLimit
from .specs import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .progress import Progress


class RunOptions(TypedDict, total=False):
    """Options of `run`; each may be left out."""

    out: str | Path
    """Run directory; default ``runs/latest``. Run again with the same one to go on where it was stopped."""
    budgets: Sequence[float]
    seeds: Sequence[int]
    limit: int
    """Run only the first N samples: a partial run, never ranked."""
    sample: int
    """Run only N samples, drawn with the seed: a partial run."""
    settings: Settings
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
    request = Request(_listed(models), _listed(tasks), options.get("budgets", ()), options.get("seeds", (0,)))
    spec = RunSpec(
        plan=plan(plugins.registry, request),
        out=Path(options.get("out", "runs/latest")),
        settings=options.get("settings", Settings()),
        limit=SampleLimit(options.get("limit"), options.get("sample")),
        command="adaptbench.run",
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


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
