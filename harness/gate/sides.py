"""Sides: base and head, each a process of its own that stays, with its own code and perhaps its own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import UserError
from ..measure.timing import Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from ..identity import Settings
    from ..results import CellId

_PROGRAM = f"{__package__}.timed_side"


class UnknownCell(UserError):
    """A side's code has no such model or task."""


@dataclass(frozen=True, slots=True)
class Code:
    """Where a side's code comes from.

    Attributes:
        python: The interpreter, which may belong to another environment.
        folder: Working directory: a checkout. Suites name plugins and data relative to it.
        installed: Only what the interpreter's environment has installed is imported, and nothing of the folder.
    """

    python: str = sys.executable
    folder: Path = field(default_factory=Path.cwd)
    installed: bool = False

    @classmethod
    def of(cls, checkout: Path | None, python: Path | None) -> Code:
        """A checkout, an interpreter, or both; what is not given is this process' own.

        Of an interpreter without a checkout, what is installed counts: the folder is that of the other side.

        Raises:
            UserError: One of them is not there.
        """
        if checkout is not None and not checkout.is_dir():
            raise UserError("there is no such folder", where=str(checkout), todo="check out the base there")
        if python is not None and not python.is_file():
            raise UserError("there is no such interpreter", where=str(python), todo="name the base's bin/python")
        # Resolved only by its folder: the link is what tells Python which environment it is in.
        folder, installed = (checkout or Path()).resolve(), python is not None and checkout is None
        return cls(str(python.absolute()) if python else sys.executable, folder, installed)

    def environment(self) -> dict[str, str]:
        """Environment variables: what is in the checkout goes before what is installed, if it takes part."""
        if self.installed:
            return {**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
        found = [self.folder / "src", self.folder]
        if (self.folder / "__init__.py").is_file():  # the checkout is itself a package
            found.append(self.folder.parent)
        before = [str(path) for path in found if path.is_dir()]
        after = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*before, *after])}


class TimedSide:
    """One side at work (see `harness.gate.timed_side`); a context manager, which ends its process.

    Args:
        name: Such as ``base``, for messages.
        code: What it runs.
    """

    def __init__(self, name: str, code: Code) -> None:
        self.name, self._code = name, code
        self._calls = 1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
                [self._code.python, "-m", _PROGRAM],
                cwd=self._code.folder, env=self._code.environment(), text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            )  # fmt: skip
            stack.enter_context(self._process)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._stack.close()  # closes its input, which ends it

    def load(self, cell: CellId, settings: Settings, plugins: Sequence[str]) -> str:
        """Load a cell; return the folder of the AdaptBench that this side runs.

        Raises:
            UnknownCell: This side's code does not have it.
            UserError: It cannot be loaded.
        """
        work = {
            "cell": cell.model_dump(), "plugins": list(plugins), "batch_size": settings.batch_size,
            "device": settings.device,
        }  # fmt: skip
        return str(self._ask({"load": work})["code"])

    def calibrate(self, seconds: float) -> tuple[int, float]:
        """Return how many calls in a row last ``seconds``, and how long one takes."""
        reply = self._ask({"calibrate": seconds})
        return int(reply["count"]), float(reply["call"])

    def repeat(self, count: int) -> Seconds:
        """Time ``count`` calls in a row."""
        return Seconds(**self._ask({"repeat": count}))

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        sent, received = self._process.stdin, self._process.stdout
        line = ""
        if sent is not None and received is not None:
            try:
                sent.write(f"{json.dumps(request)}\n")
                sent.flush()
                line = received.readline()
            except BrokenPipeError:
                line = ""
        if not line.endswith("\n"):
            raise UserError(f"its process ended: {self._last_words()}", where=f"the {self.name} side")
        reply: dict[str, Any] = json.loads(line)
        if "unknown" in reply:
            raise UnknownCell(reply["unknown"], where=f"the {self.name} side")
        if "error" in reply:
            raise UserError(reply["error"], where=f"the {self.name} side")
        return reply

    def _last_words(self) -> str:
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else f"exit status {self._process.returncode}"
        if "No module named" in last and _PROGRAM.rpartition(".")[2] in last + _PROGRAM:
            return f"{last}; it needs an AdaptBench that has the gate"
        return last
