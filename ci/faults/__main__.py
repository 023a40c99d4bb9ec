"""How likely is a loss? ``python ci/faults`` tries what befalls runs, files and outputs, and counts what came of it.

It takes hours, goes on where it stopped, and renews the table of ``docs/reliability.md`` with ``--page``.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

_TESTS = Path(__file__).parents[2] / "tests" / "harness"
sys.path += map(str, (Path(__file__).parent, _TESTS, _TESTS / "cli"))

from inputs import Found, Inputs  # noqa: E402 - found by the line above
from runs import DISASTERS, Runs  # noqa: E402

_BEGIN, _END = "<!-- the table of ci/faults -->", "<!-- its end -->"
_EXAMPLES = 5
"""Of what went wrong, kept of a step."""


def main() -> None:
    """Do what is still to be tried, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="folder that it goes on in")
    parser.add_argument("--share", type=float, default=1.0, help="of the tries, for a look")
    parser.add_argument("--only", default="", help="what has this in its name")
    parser.add_argument("--page", type=Path, help="page whose table is renewed")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    log = asked.out / "steps.jsonl"
    done = Counter(step["what"] for step in _read(log))
    with log.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        for what, count, size, step in (*_of_runs(Path(folder), asked.only), *_of_inputs(Path(folder), asked.only)):
            wanted = max(1, round(asked.share * count))
            for number in range(done[what], -(-wanted // size)):
                found = step(min(size, wanted), random.Random(f"{what} {number}"))
                line = {"what": what, "tries": found.tries, "refused": found.refused, "wrong": len(found.wrong)}
                file.write(json.dumps(line | {"examples": found.wrong[:_EXAMPLES]}) + "\n")
                file.flush()
                for example in found.wrong[:1]:
                    print(f"{what}, step {number}: {example}", flush=True)
            print(f"{what}: done", file=sys.stderr, flush=True)
    table = _table(_read(log))
    print(table)
    if asked.page:
        before, _, rest = asked.page.read_text(encoding="utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        asked.page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


def _of_runs(folder: Path, only: str):
    """A campaign of single tries for each disaster."""
    wanted = {what: disaster for what, disaster in DISASTERS.items() if only in what}
    runs = Runs(folder) if wanted else None
    for what, (count, trial) in wanted.items():

        def step(_: int, rng: random.Random, trial=trial) -> Found:
            out = folder / "try" / "run"
            out.parent.mkdir()
            found = trial(runs, out, rng)
            shutil.rmtree(out.parent)
            return Found(1, 0, [found] if found else [])

        yield what, count, 1, step


def _of_inputs(folder: Path, only: str):
    (folder / "inputs").mkdir()
    return (campaign for campaign in Inputs(folder / "inputs").campaigns() if only in campaign[0])


def _read(log: Path) -> list[dict]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _table(steps: list[dict]) -> str:
    found: dict[str, Counter] = {}
    for step in steps:
        found.setdefault(step["what"], Counter()).update({key: step[key] for key in ("tries", "refused", "wrong")})
    refused = {what: "-" if what in DISASTERS else f"{of['refused']:,}" for what, of in found.items()}
    rows = [f"| {what} | {of['tries']:,} | {refused[what]} | {of['wrong']:,} |" for what, of in found.items()]
    date = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    head = "| what | tries | refused in a line | lost, changed or a traceback |"
    return "\n".join([f"`python ci/faults`, {date}:", "", head, "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
