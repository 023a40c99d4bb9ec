"""One part, in a process of its own: ``python -m gpu_check.child MODULE FILE FOLDER DEVICE [--small]``."""

import importlib
import sys
from pathlib import Path

from .setting import Setting, keeper


def main() -> None:
    """Run it; what it finds goes into FILE."""
    module, file, folder, device, *small = sys.argv[1:]
    importlib.import_module(module).run(Setting(device, bool(small), Path(folder)), keeper(Path(file)))


if __name__ == "__main__":
    main()
