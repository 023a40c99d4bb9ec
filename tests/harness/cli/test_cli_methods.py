"""docs/methods.md builds a method from nothing: its commands run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import adaptbench

PAGE = (Path(adaptbench.__file__).parent / "docs" / "methods.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Add your own method\n")[2].partition("\n## ")[0]


def test_a_method_is_listed_priced_run_and_drawn(cli, tmp_path):
    Path(re.search(r"into `(\S+)`", SECTION)[1]).write_text(re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1])
    said = {}
    for line in re.findall(r"^    adaptbench (.*)$", SECTION, re.MULTILINE):
        done = cli(*shlex.split(line.replace("scenes=20", "scenes=2")))
        assert done.status == 0, (line, done.err)
        said[line.split()[0]] = done.out
    assert list(said) == ["list", "cost", "run", "report", "figure", "plugin"]
    assert re.search(r"keep=32 +a whole number of at least 1 +How many visual tokens", said["list"])
    assert "FAILED" not in said["plugin"]
    assert "method lucky-tokens on tiny-llava" in said["plugin"]
    assert "tiny-llava+lucky-tokens(keep=16)" in (tmp_path / "board.html").read_text()
    assert "tiny-llava+lucky-tokens(keep=...)" in (tmp_path / "curve.svg").read_text()
