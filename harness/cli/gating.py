"""``adaptbench gate``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

from ..errors import UserError
from ..gate.accuracy import AccuracyRule
from ..gate.check import KINDS, Gate, Rules, specs_in_turn
from ..gate.clock import ClockName, TimeRule
from ..gate.junit import junit
from ..gate.sides import Code
from ..gate.summary import markdown, text
from ..gate.timings import BothSides, time_pairs
from ..gate.verdict import Kind, Verdict
from ..identity import Settings
from ..outputs import write_content
from ..progress import Bars, Lines
from ..store.files import append, make_folder
from ..texts import utf8
from .output import echo, say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..gate.timings import Timed
    from ..progress import Progress

SELF_TEST_FAILED = 14


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What ``adaptbench gate`` is asked for."""

    suite: str
    update: bool
    base: Path | None
    base_python: Path | None
    model: str
    base_model: str
    task: str
    checks: tuple[str, ...]
    baselines: Path
    margin: float
    slower: float
    pairs: int
    processes: int
    seconds: float
    clock: str
    seed: int
    batch_size: int | None
    device: str | None
    benchmarks: tuple[Path, ...]
    markdown: Path | None
    junit: Path | None
    benchmark_json: Path | None
    out: Path | None
    plugins: tuple[str, ...]
    as_json: bool

    @property
    def time_rule(self) -> TimeRule:
        """When head counts as slower."""
        for name in get_args(ClockName):
            if name == self.clock:
                return TimeRule(self.pairs, self.processes, self.seconds, slower=self.slower, clock=name)
        raise UserError(f"there is no clock {self.clock!r}", where="--clock", todo="give wall or processor")

    @property
    def timed(self) -> bool:
        """Whether there is a base to time against."""
        return bool(self.base or self.base_python)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is checked: by default all there is something to check against."""
        for name in self.checks:
            if name not in KINDS:
                raise UserError(f"there is no check {name!r}", where="--check", todo=f"choose from {', '.join(KINDS)}")
        if "time" in self.checks and not self.timed:
            todo = "name a checkout with --base or an interpreter with --base-python"
            raise UserError("there is no base to time against", where="--check time", todo=todo)
        return tuple(
            kind for kind in KINDS if kind in self.checks or (not self.checks and (kind != "time" or self.timed))
        )


def gate_command(options: GateOptions, *, self_test: bool) -> None:
    """Check, or renew the baseline, or prove the gate."""
    if self_test:
        _prove(options)
    elif options.benchmarks:
        _finish(options, _judge_benchmarks(options))
    elif not options.suite:
        _finish(options, *_time_specs(options))
    else:
        _check_suite(options)


def _check_suite(options: GateOptions) -> None:
    rules, kinds = Rules(AccuracyRule(options.margin), options.time_rule), options.kinds
    base, head = Code.of(options.base, options.base_python), Code.of(None, None)
    chosen = {"batch_size": options.batch_size, "device": options.device}
    gate = Gate(options.suite, options.plugins, options.baselines, rules, **chosen)
    timed: Sequence[Timed] = ()
    verdict = Verdict(suite=gate.name, findings=())
    with ExitStack() as stack:
        progress = _progress(stack, gate.cells)
        if options.update:
            write_columns([[line] for line in gate.renew(gate.run(options.out, progress))], indent="")
            echo(f"{gate.path}: review it and commit it")
            return
        if {"exact", "accuracy"} & set(kinds):
            verdict = gate.against_baseline(gate.run(options.out, progress), kinds)
        if "time" in kinds:
            in_time, timed = gate.in_time(base, head, options.seed, progress)
            verdict = verdict.and_also(in_time)
    _finish(options, verdict, timed)


def _progress(stack: ExitStack, cells: int) -> Progress:
    return stack.enter_context(Bars(cells)) if sys.stderr.isatty() else Lines(cells)


def _time_specs(options: GateOptions) -> tuple[Verdict, Sequence[Timed]]:
    if not (options.model and options.base_model and options.task):
        todo = "name a suite, or --model, --base-model and --task, or --benchmarks, or --self-test"
        raise UserError("there is nothing to check", todo=todo)
    pair = specs_in_turn(options.base_model, options.model, options.task, options.plugins)
    settings = Settings(options.batch_size or Settings().batch_size, options.device or Settings().device)
    here = Code.of(None, None)
    with ExitStack() as stack:
        tell = _progress(stack, 1).note
        both = BothSides(here, here, settings, options.plugins)
        return time_pairs(pair.name, [pair], both, options.time_rule, options.seed, tell)


def _judge_benchmarks(options: GateOptions) -> Verdict:
    from ..gate.benchmark_json import judge_files

    if len(options.benchmarks) != 2:
        raise UserError(f"{len(options.benchmarks)} folders", where="--benchmarks", todo="give it twice: base, head")
    base, head = (sorted(folder.rglob("*.json")) for folder in options.benchmarks)
    return Verdict(suite="benchmarks", findings=tuple(judge_files(base, head, replace(options.time_rule, processes=1))))


def _finish(options: GateOptions, verdict: Verdict, timed: Sequence[Timed] = ()) -> None:
    """Show the verdict, write what was asked for, and end with its exit code."""
    from ..gate.benchmark_json import benchmark_json

    if options.as_json:
        write_json(verdict.model_dump(mode="json") | {"exit_code": verdict.exit_code})
    else:
        echo(text(verdict))
        for note in verdict.notes:
            say(f"  note: {note}")
    if options.markdown is not None:
        make_folder(options.markdown.absolute().parent)
        append(options.markdown, utf8(markdown(verdict)))
    if options.junit is not None:
        write_content(options.junit, junit(verdict))
    if options.benchmark_json is not None:
        write_content(options.benchmark_json, benchmark_json(timed, options.time_rule))
    raise typer.Exit(verdict.exit_code)


def _prove(options: GateOptions) -> None:
    """Prove the gate by both clocks; the one that was asked for decides."""
    from ..gate import selftest

    rule = options.time_rule
    folder = options.out or Path("runs/gate-self-test")
    runs = selftest.record_runs(folder, rule, selftest.RUNS, tell=lambda line: echo(line, err=True))
    other = replace(rule, clock="processor" if rule.clock == "wall" else "wall")
    proofs = [
        *selftest.prove_times(runs, rule),
        selftest.prove_on_noise(runs, rule, selftest.SIMULATED),
        *selftest.prove_accuracy(AccuracyRule(options.margin), selftest.DRAWS),
    ]
    beside = [*selftest.prove_times(runs, other), selftest.prove_on_noise(runs, other, selftest.SIMULATED)]
    if options.as_json:
        write_json({"proofs": [p._asdict() for p in proofs], f"by {other.clock} time": [p._asdict() for p in beside]})
    else:
        for title, some in (("", proofs), (f"by {other.clock} time, for comparison:", beside)):
            if title:
                echo(title)
            write_columns([["holds" if proof.holds else "MISSED", proof.found, proof.claim] for proof in some])
    raise typer.Exit(0 if all(proof.holds for proof in proofs) else SELF_TEST_FAILED)
