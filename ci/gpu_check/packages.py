"""What a machine without network lacks of AdaptBench's libraries, and a folder of wheels that brings it.

    packages.py wheels FOLDER [FREEZE]   # where there is a network: download them
    packages.py install FOLDER SITE      # on the machine: say what is missing, and install it into SITE

FREEZE is what ``pip freeze`` prints on the machine: the folder is then without what it has. Without it NumPy and
SciPy are taken to be there. torch is always the machine's own, and nothing of the machine's is replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PYTHON = "3.12"
MOST_BYTES = 64 * 10**6
"""Of the folder."""
EXTRAS = ("torch", "gpu")
NEVER_CARRIED, USUALLY_THERE = frozenset({"torch"}), frozenset({"numpy", "scipy"})
"""Too large; and large, so that they are carried only to a machine that is known to lack them."""
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")


def requirements() -> list[Requirement]:
    """What the check needs, as `pyproject.toml` has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(text) for text in (*project["dependencies"], *(one for name in EXTRAS for one in extras[name]))]


def lacking() -> dict[str, str]:
    """Those that are missing or too old: name -> the requirement, with what is there."""
    found = {}
    for needed in requirements():
        try:
            here = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            found[needed.name] = str(needed)
            continue
        if not needed.specifier.contains(here, prereleases=True):
            found[needed.name] = f"{needed}, here {here}"
    return found


def install(wheels: Path, site: Path) -> None:
    """Say what is missing, install what the folder has of it, and make AdaptBench itself importable.

    What is missing there too may still not be needed, and what is too old may do: the check goes on, and says so.
    """
    missing, carried = lacking(), {canonicalize_name(wheel.name.partition("-")[0]) for wheel in wheels.glob("*.whl")}
    print(f"missing or too old here: {'; '.join(missing.values()) or 'nothing'}", flush=True)
    asked = [str(one) for one in requirements() if one.name in missing and canonicalize_name(one.name) in carried]
    left = [text for name, text in missing.items() if canonicalize_name(name) not in carried]
    if left:
        print(f"not in {wheels}, so tried as it is: {'; '.join(left)}", flush=True)
    if asked:
        offline = ["--no-index", "--find-links", str(wheels), "--disable-pip-version-check", "--quiet"]
        plan = _pip("install", *offline, "--dry-run", "--report", "-", *asked)
        if plan is None:
            sys.exit(f"{wheels} lacks what these need; where there is a network: ci/gpu_check.sh wheels {wheels}")
        chosen = [f"{one['metadata']['name']}=={one['metadata']['version']}" for one in json.loads(plan)["install"]]
        print(f"installing from {wheels} into {site}: {', '.join(chosen)}", flush=True)
        if _pip("install", *offline, "--no-deps", "--no-compile", "--upgrade", "--target", str(site), *chosen) is None:
            sys.exit(f"{wheels} could not be installed into {site}")
    if not _is_installed():
        _link(site)


def _is_installed() -> bool:
    """Whether this very code is what is imported as AdaptBench, and registered."""
    found = find_spec("adaptbench")
    with contextlib.suppress(metadata.PackageNotFoundError):
        return (
            found is not None
            and found.origin is not None
            and ROOT.samefile(Path(found.origin).parent)
            and bool(metadata.distribution("adaptbench").entry_points)
        )
    return False


def _link(site: Path) -> None:
    """Put into SITE what an editable installation would: the way to the code, and its entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = site / f"adaptbench-{project['version']}.dist-info"
    own.mkdir(parents=True, exist_ok=True)
    stated = f"Metadata-Version: 2.1\nName: adaptbench\nVersion: {project['version']}\n"
    (own / "METADATA").write_text(stated, encoding="utf-8")
    groups = (
        [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        for group, points in project["entry-points"].items()
    )
    (own / "entry_points.txt").write_text(
        "\n".join(line for group in groups for line in group) + "\n", encoding="utf-8"
    )
    link = site / "adaptbench"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT, target_is_directory=True)


def download(folder: Path, there: Mapping[str, str]) -> None:
    """Make the folder, from the versions of `ci/constraints.txt`, for Python 3.12 on Linux and x86-64.

    Args:
        folder: What it holds is replaced.
        there: Package -> version, of what the machine has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    versions = _pins(ROOT / "ci" / "constraints.txt")
    platforms = [option for name in _PLATFORMS for option in ("--platform", f"{name}_x86_64")]
    target = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", *platforms]
    for name in sorted(_closure(there)):
        pinned, quiet = f"{name}=={versions[name]}", ["--quiet", "--disable-pip-version-check", "--no-deps"]
        # What has no wheel is Python alone, and one is made.
        if _pip("download", *quiet, *target, "--dest", str(folder), pinned, heard=False) is None and (
            _pip("wheel", *quiet, "--wheel-dir", str(folder), pinned) is None
        ):
            sys.exit(f"there is no wheel of {pinned}")
    wheels = sorted(folder.glob("*.whl"), key=lambda wheel: -wheel.stat().st_size)
    size = sum(wheel.stat().st_size for wheel in wheels)
    largest = ", ".join(f"{wheel.name.split('-')[0]} {wheel.stat().st_size / 1e6:.1f}" for wheel in wheels[:5])
    print(f"{folder}: {len(wheels)} wheels, {size / 1e6:.1f} MB; the largest: {largest}")
    if size > MOST_BYTES:
        sys.exit(f"that is more than the {MOST_BYTES / 1e6:.0f} MB that are carried")


def _pins(file: Path) -> dict[str, str]:
    """Package -> version, of the lines that say one."""
    lines = (line.partition("==") for line in file.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {canonicalize_name(name): version.strip() for name, _, version in lines}


def _closure(there: Mapping[str, str]) -> set[str]:
    """The names of all that is needed, by the metadata of what is installed here, but for what is not carried."""
    environment: Any = default_environment() | {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}

    def needed(of: Requirement) -> Iterator[Requirement]:
        for text in metadata.requires(of.name) or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate(environment | {"extra": e}) for e in (*of.extras, "")):
                yield one

    found, waiting = set[str](), requirements()
    left_out = NEVER_CARRIED if there else NEVER_CARRIED | USUALLY_THERE
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        has = name in there and one.specifier.contains(there[name], prereleases=True)
        if not has and name not in found | left_out:
            found.add(name)
            waiting += needed(one)
    return found


def _pip(*arguments: str, heard: bool = True) -> str | None:
    """What pip prints; ``None`` if it fails."""
    command = [sys.executable, "-m", "pip", *arguments]
    offline = (
        {}
        if "--no-index" not in arguments
        else {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    )
    done = subprocess.run(
        command, env=os.environ | offline, stdout=subprocess.PIPE, stderr=None if heard else subprocess.DEVNULL,
        text=True, check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else None


def main() -> None:
    """Make the folder, or use it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wheels", "install"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("beside", type=Path, nargs="?", metavar="FREEZE|SITE")
    asked = parser.parse_args()
    if asked.what == "wheels":
        download(asked.folder, _pins(asked.beside) if asked.beside else {})
    else:
        install(asked.folder, asked.beside)


if __name__ == "__main__":
    main()
