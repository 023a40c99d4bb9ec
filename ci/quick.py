"""Run within 90 seconds what a change most likely breaks: lint, types, and the tests that name what has changed.

What has changed is what differs from `main`, or what the last commit did. Its own tests come first, then those that
name most of it, then those beside. What is not over in time is stopped: only `make test` tells that all is well.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
SECONDS = 85
ALWAYS = ["tests/test_house.py", "tests/harness/cli/test_cli_imports.py", "tests/harness/test_api.py"]


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed() -> list[str]:
    """Paths of what has changed, committed or not."""
    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    since = [*git("diff", "--name-only", base[0]), *git("ls-files", "--others", "--exclude-standard")]
    return since or git("diff", "--name-only", "HEAD~1")


def needle(path: str) -> str:
    """What a test calls a file: a module by its dotted name, others by their own, which of a README says nothing."""
    file = PurePosixPath(path)
    parts = file.with_suffix("").parts
    return ".".join(("adaptbench", *parts)) if file.suffix == ".py" else path if file.stem == "README" else file.name


def chosen(paths: list[str]) -> list[str]:
    """Test files to run, the nearest first."""
    own = [path for path in paths if path.startswith("tests/") and (ROOT / path).is_file()]
    needles = {needle(path) for path in paths} - {needle(path) for path in own}
    named: dict[str, int] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8").replace(" import ", ".")
        named[file.relative_to(ROOT).as_posix()] = sum(word in text for word in needles)
    nearest = sorted((path for path, count in named.items() if count), key=lambda path: -named[path])
    tests = [path for path in own if PurePosixPath(path).name.startswith("test_")]
    folders = {f"tests/{PurePosixPath(path).parent}" for path in paths}
    beside = [path for path in named if str(PurePosixPath(path).parent) in folders]
    return list(dict.fromkeys([*tests, *nearest, *ALWAYS, *beside]))


def main() -> int:
    started = time.monotonic()
    files = chosen(changed())
    print(f"{len(files)} test files: {', '.join(PurePosixPath(file).stem for file in files)}", flush=True)
    tests = ["pytest", "--exitfirst", "-q", "--numprocesses", "2", "--dist", "loadgroup", *files]
    commands = {"lint": ["make", "lint"], "types": ["make", "types"], "tests": [sys.executable, "-m", *tests]}
    for name, command in commands.items():
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                status = process.wait(SECONDS - (time.monotonic() - started))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # pytest says how far it came
                process.wait()
                print(f"{name}: stopped after {SECONDS} s, with nothing wrong so far")
                return 0
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
