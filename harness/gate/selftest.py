"""The gate proves itself: what it must not stop, and what it must.

- *Base against itself*, each side in processes of its own: no false alarm in 40 runs.
- *Base against 10 % more work*: caught at least 38 times of 40. Both by what the gate does in earnest, and one run
  answers both: base, base again, and head.
- *Simulated runs of base against itself*, from recorded noise: at most 1 % of 2,000 are stopped.
- *An injected loss of accuracy* is stopped as often as computed, within three standard errors, in 400 draws.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..errors import UserError
from ..hashing import canonical_json
from ..identity import Settings
from ..results import CellId
from ..store.files import append, disk_errors, make_folder
from .accuracy import AccuracyRule, loss
from .busy import Busy
from .clock import TimeRule, ratio
from .power import chance_to_stop
from .sides import Code
from .timings import BothSides, TimedPair, machine_load, time_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .clock import ClockName

_PLUGIN = f"{__package__}.busy"
NOISE = Path(__file__).with_name("noise.json")
"""Runs of base against itself, as recorded by this self-test."""
_CLOCKS: tuple[ClockName, ...] = ("wall", "processor")
RUNS = 40
_MUST_CATCH = 0.95
SIMULATED = 2_000
DRAWS = 400
_MORE = 1.1
_ACCURACY_CASES = ((500, 0.01, 0.0), (1000, 0.015, 0.005), (500, 0.03, 0.01))
"""Samples, chance of a sample to be lost, and to be gained."""


class Recorded(BaseModel):
    """One run of the self-test, as a line of its file.

    Attributes:
        work: How much base does in a call.
        load: Of the machine, before the run.
        shortest: Seconds of the shortest repetition of any side.
        times: Side -> clock -> seconds of a call, process by process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    work: int
    load: str
    shortest: float
    times: dict[str, dict[str, tuple[float, ...]]]


class Proof(NamedTuple):
    """One claim with what was found."""

    claim: str
    found: str
    holds: bool


def record_runs(
    folder: Path, rule: TimeRule, runs: int = RUNS, tell: Callable[[str], None] = lambda _: None
) -> list[Recorded]:
    """Do the timed runs that are still missing; each is stored when it is done.

    Args:
        folder: Where they are kept; the same one again goes on.
        rule: Of the gate.
        runs: How many there must be.
        tell: Told how far it is.
    """
    path = make_folder(folder) / "runs.jsonl"
    done = _read(path)
    if any(len(run.times["base"]["wall"]) != rule.independent for run in done):
        raise UserError(
            "its runs have another number of pairs or processes", where=str(path), todo="choose another --out"
        )
    work = done[0].work if done else calibrated(rule.seconds)
    for number in range(len(done), runs):
        run = one_run(work, rule, seed=number)
        append(path, canonical_json(run.model_dump(mode="json")) + b"\n")
        done.append(run)
        alarm = "STOPPED" if _stopped(run, "control", rule) else "passed"
        caught = "caught" if _stopped(run, "head", rule) else "MISSED"
        tell(f"run {number + 1}/{runs}: {run.load}; base against itself {alarm}, 10 % more work {caught}")
    return done


def calibrated(seconds: float) -> int:
    """Return how much work keeps the busy model busy for a thirtieth of ``seconds``."""
    from ..measure.timing import repeated

    tries = [repeated(lambda: Busy(200).embed([0]), 1).processor for _ in range(5)]
    return max(10, 10 * math.ceil(20 * seconds / 30 / min(tries)))


def one_run(work: int, rule: TimeRule, seed: int) -> Recorded:
    """Time base, base again, and a tenth more work, as the gate does."""
    load = machine_load()
    base, head = (CellId(model=f"busy(work={asked})", task="busy-nothing") for asked in (work, round(_MORE * work)))
    both = BothSides(Code(), Code(), Settings(), (_PLUGIN,))
    _, (timed,) = time_pairs("self-test", [TimedPair("busy", base, head)], both, rule, seed)
    times = {
        side: {clock: tuple(timed.times(side, clock).round(6).tolist()) for clock in _CLOCKS}
        for side in ("base", "control", "head")
    }
    return Recorded(work=work, load=load, shortest=round(timed.shortest, 3), times=times)


def prove_times(runs: Sequence[Recorded], rule: TimeRule) -> list[Proof]:
    """Judge recorded runs."""
    alarms = sum(_stopped(run, "control", rule) for run in runs)
    caught = sum(_stopped(run, "head", rule) for run in runs)
    least = math.ceil(_MUST_CATCH * len(runs))
    shortest = min(run.shortest for run in runs)
    return [
        Proof(f"base against itself, {rule.clock} time: no false alarm in {len(runs)} runs", f"{alarms}", alarms == 0),
        Proof(
            f"10 % more work, {rule.clock} time: caught {least} times of {len(runs)} or more",
            f"{caught}",
            caught >= least,
        ),
        Proof(f"repetitions last {rule.seconds:g} s or more", f"{shortest:.3f} s", shortest >= rule.seconds),
    ]


def prove_on_noise(noise: Sequence[Recorded], rule: TimeRule, simulated: int = SIMULATED) -> Proof:
    """Judge simulated runs of base against itself.

    Each takes its pairs, drawn with replacement, from one recorded run, that of a machine at one time; which of the two
    processes of a pair is base is drawn too, for they are of the same code.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    stopped = 0
    for _ in range(simulated):
        run = noise[int(generator.integers(len(noise)))].times
        pairs = np.array([run["base"][rule.clock], run["control"][rule.clock]]).T
        drawn = pairs[generator.integers(0, len(pairs), size=len(pairs))]
        base, head = generator.permuted(drawn, axis=1).T
        stopped += ratio(base, head, rule).p < rule.alpha
    most = simulated // 100
    return Proof(
        f"simulated on recorded noise, {rule.clock} time: at most {most} of {simulated:,} stopped",
        f"{stopped}",
        stopped <= most,
    )


def prove_accuracy(rule: AccuracyRule, draws: int = DRAWS) -> list[Proof]:
    """Inject losses into drawn scores and count how often they are stopped."""
    generator = np.random.Generator(np.random.PCG64(1))
    proofs = []
    for n, lost, gained in _ACCURACY_CASES:
        power = chance_to_stop(n, lost, gained, rule)
        stopped = 0
        for _ in range(draws):
            drawn = generator.choice(3, size=n, p=[lost, gained, 1 - lost - gained])
            base = np.where(drawn == 2, generator.integers(0, 2, size=n), drawn == 0).astype(float)
            head = np.where(drawn == 2, base, drawn == 1).astype(float)
            stopped += not loss(base, head, rule).passes(rule)
        rate, error = stopped / draws, math.sqrt(power * (1 - power) / draws)
        proofs.append(
            Proof(
                f"{n} samples that lose {lost - gained:g} on average: stopped {power:.3f} of the time, as computed",
                f"{rate:.3f} of {draws} ({(rate - power) / error:+.1f} standard errors)",
                abs(rate - power) <= 3 * error,
            )
        )
    return proofs


def recorded_noise(path: Path = NOISE) -> list[Recorded]:
    """The noise that ships: recorded runs of base against itself."""
    return [Recorded.model_validate(run) for run in json.loads(path.read_text(encoding="utf-8"))]


def _stopped(run: Recorded, other: str, rule: TimeRule) -> bool:
    """Whether the gate would stop a run; of base against itself also if the second process is the quicker one."""
    base, head = (np.array(run.times[side][rule.clock]) for side in ("base", other))
    stopped = ratio(base, head, rule).p < rule.alpha
    return stopped or (other == "control" and ratio(head, base, rule).p < rule.alpha)


def _read(path: Path) -> list[Recorded]:
    if not path.exists():
        return []
    with disk_errors(path, "read"):
        lines = path.read_bytes().split(b"\n")[:-1]
    return [Recorded.model_validate_json(line) for line in lines]
