"""The command line, as a process whose processor time can be told."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

ADAPTBENCH = str(Path(sys.executable).with_name("adaptbench"))


def of_children() -> float:
    """Seconds of processor time of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
