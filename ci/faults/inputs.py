"""What files and models say. Spoilt official files must be scored or refused in a line, and any output has a score.

The files are those of ``docs/official-files.md``, as small as its test writes them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shlex
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import openpyxl
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.scoring import scores_of
from adaptbench.harness.stats import intervals
from adaptbench.harness.summary import checked_scores
from openpyxl.utils.exceptions import IllegalCharacterError
from test_cli_official_files import COMMANDS, MADE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

TRIES = {"lines": 100_000, "json": 10_000, "binary": 1_000, "rule": 100_000}
"""How often files of a kind are spoilt, all those of one reader together, and how many outputs each rule reads."""
_DRAWS = 20
"""Of an interval, instead of a thousand: what is tried is reading."""
_HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, 1.5, 1e308, math.nan, math.inf, "", " ", "\n", "\t", "\0", "\ud800", "\u202e",
    "yes", "NONE", "None", "NA", "null", "-", "=1+1", "<b>", "../../x", "/", "0" * 400, "a" * 5_000,
    [], {}, [None], [[[[]]]], {"": None}, {"question_id": {}}, ["x", 1], "1e999", "१", "1,5", "Ⅷ",
)  # fmt: skip
_PIECES = (
    "yes", "no", "Yes.", "No, ", "A", "B.", "(C)", "D: ", "none", "cat", "two", "2", "10", "1,000", "0.5", "-3", "a",
    "the", "isn't", "dont", "RUN ( DOG , NONE , NONE )", "answer is", "\n", "\t", " ", ".", "?", "'", '"', "/", "\\",
    "%", "$", "\0", "\ud800", "\u202e", "é", "你", "🙂", "²", "٣", "None", "nan", "inf", "1e5", "(", ")", "[", "]",
    "{", "}",
)  # fmt: skip


class Found(NamedTuple):
    """What became of some tries."""

    tries: int
    refused: int
    wrong: list[str]


class Inputs:
    """The commands, and the tasks that they name.

    Args:
        folder: Where the files are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.chdir(folder):
            for make in MADE:
                make()
        self._registry = load_plugins().registry
        intervals._DRAWS = _DRAWS

    def campaigns(self) -> Iterator[tuple[str, int, int, Callable[[int, random.Random], Found]]]:
        """What is tried, how often, how many tries a step has, and the step."""
        tried = set()
        files: dict[str, tuple[_Command, Path, str]] = {}
        for command in filter(None, map(_parsed, COMMANDS)):
            for path in self._files(command):
                files.setdefault(f"{_task(command)}: {path.relative_to(self._folder)}", (command, path, _kind(path)))
        readers = Counter((_task(command), kind, path.suffix) for command, path, kind in files.values())
        for name, (command, path, kind) in files.items():
            tries = -(-TRIES[kind] // readers[_task(command), kind, path.suffix])
            yield name, tries, 20 if kind == "binary" else 500, self._spoiling(command, path, kind)
        for command in {command.task: command for command in filter(None, map(_parsed, COMMANDS))}.values():
            for rule in self._rules(command):
                name = f"{_task(command)}: outputs, rule {rule}"
                if name not in tried:
                    tried.add(name)
                    yield name, TRIES["rule"], 5_000, self._outputs(command, rule)

    def _files(self, command: _Command) -> list[Path]:
        named = [self._folder / name for name in (command.predictions, *command.arguments.values())]
        found = [path for one in named for path in ([one] if one.is_file() else sorted(one.rglob("*")))]
        return [path for path in dict.fromkeys(found) if path.is_file()]

    def _rules(self, command: _Command) -> list[str]:
        entry = self._registry.find("task", _task(command).partition(":")[0])
        return list(entry.card.rules)

    def _score(self, command: _Command, rule: str | None = None) -> Any:
        with contextlib.chdir(self._folder):
            return scores_of(
                self._registry, command.task, Path(command.predictions), rule=rule, arguments=command.arguments
            )

    def _spoiling(self, command: _Command, path: Path, kind: str) -> Callable[[int, random.Random], Found]:
        whole = path.read_bytes()

        def step(tries: int, rng: random.Random) -> Found:
            refused, wrong = 0, []
            try:
                for _ in range(tries):
                    path.write_bytes(_SPOIL[kind](whole, path.suffix, rng))
                    try:
                        self._score(command)
                    except UserError as error:
                        refused += 1
                        if "\n" in str(error):
                            wrong.append(f"a message of several lines: {error}")
                    except Exception:  # noqa: BLE001 - it is counted
                        wrong.append(traceback.format_exc(limit=-3))
            finally:
                path.write_bytes(whole)
            return Found(tries, refused, wrong)

        return step

    def _outputs(self, command: _Command, rule: str) -> Callable[[int, random.Random], Found]:
        def step(tries: int, rng: random.Random) -> Found:
            scored = self._score(command, rule)
            task, wrong = scored.task, []
            for _ in range(tries):
                output = "".join(rng.choices(_PIECES, k=rng.randint(0, 8)))
                sample = rng.choice(task.samples)
                try:
                    checked_scores(task.card, sample.id, task.score(sample, task.parse(sample, output)))
                except Exception:  # noqa: BLE001 - it is counted
                    wrong.append(f"{output!r}: {traceback.format_exc(limit=-3)}")
            return Found(tries, 0, wrong)

        return step


class _Command(NamedTuple):
    task: str
    predictions: str
    arguments: dict[str, str]


def _task(command: _Command) -> str:
    """The task's name."""
    return command.task.partition("(")[0]


def _parsed(command: str) -> _Command | None:
    """The arguments of ``adaptbench score``; none of a command that writes a file or runs."""
    parser = argparse.ArgumentParser()
    for name in ("verb", "task", "--predictions", "--annotations", "--questions", "--submission"):
        parser.add_argument(name)
    found, _ = parser.parse_known_args(shlex.split(command))
    if found.verb != "score" or found.submission:
        return None
    given = {"annotations": found.annotations, "questions": found.questions}
    return _Command(found.task, found.predictions, {name: value for name, value in given.items() if value})


def _kind(path: Path) -> str:
    if path.suffix in {".xlsx", ".parquet"}:
        return "binary"
    with contextlib.suppress(ValueError):
        json.loads(path.read_text(encoding="utf-8"))
        if path.read_bytes().count(b"\n") != 1:  # a file of one line is a file of lines
            return "json"
    return "json" if path.suffix == ".json" and path.read_bytes().count(b"\n") == 0 else "lines"


def _spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    at, spoilt = rng.randrange(len(data) + 1), bytearray(data)
    match rng.randrange(5):
        case 0:
            return bytes(spoilt[:at])
        case 1:
            spoilt[at:at] = rng.randbytes(rng.randint(1, 4))
        case 2:
            del spoilt[at : at + rng.randint(1, 40)]
        case 3:
            spoilt[at:at] = spoilt[rng.randrange(len(data)) :][: rng.randint(1, 200)]
        case _:
            spoilt[at : at + 1] = rng.choice(
                (b"\xff", b"\x00", b"\n", b"\r", b'"', b"\t", b"{", b"9" * 5_000, b"[" * 2_000)
            )
    return bytes(spoilt)


def _spoilt_value(value: Any, rng: random.Random) -> Any:
    """A value with one of the values in it replaced, left out or doubled."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return rng.choice(_HOSTILE)
    spoilt: Any = value.copy()
    at = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    kind = rng.random()
    if kind < 0.15:
        del spoilt[at]
    elif kind < 0.25 and isinstance(spoilt, list):
        spoilt.insert(at, value[at])
    elif kind < 0.25:
        spoilt[str(rng.choice(_HOSTILE))] = spoilt.pop(at)
    else:
        spoilt[at] = _spoilt_value(value[at], rng)
    return spoilt


def _spoilt_json(data: bytes, _: str, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return _spoilt_bytes(data, rng)
    return json.dumps(_spoilt_value(json.loads(data), rng)).encode()


def _spoilt_lines(data: bytes, suffix: str, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    if rng.random() < 0.2:
        return _spoilt_bytes(data, rng)
    if rng.random() < 0.1:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif lines[at].startswith(b"{"):
        lines[at] = _spoilt_json(lines[at], suffix, rng)
    else:
        fields = lines[at].split(b"\t")
        value = rng.choice(_HOSTILE)
        text = value if isinstance(value, str) else json.dumps(value)
        fields[rng.randrange(len(fields))] = text.encode("utf-8", "surrogatepass")
        lines[at] = b"\t".join(fields)
    return b"\n".join(lines)


def _spoilt_binary(data: bytes, suffix: str, rng: random.Random) -> bytes:
    if suffix != ".xlsx" or rng.random() < 0.5:
        return _spoilt_bytes(data, rng)
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book.active
    cell = sheet.cell(rng.randint(1, sheet.max_row), rng.randint(1, sheet.max_column))
    with contextlib.suppress(ValueError, IllegalCharacterError):  # what no sheet can hold
        cell.value = rng.choice([value for value in _HOSTILE if not isinstance(value, dict | list)])
    written = io.BytesIO()
    try:
        book.save(written)
    except ValueError:
        return data
    return written.getvalue()


_SPOIL = {"json": _spoilt_json, "lines": _spoilt_lines, "binary": _spoilt_binary}
