"""What classes are called in prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBERED = re.compile(r"\d+[._-]+(?=[^\d])")
"""What numbers the folders of a data set, as in ``001.Black_footed_Albatross``."""
_WNID = re.compile(r"n\d{8}")


def prompt_names(classes: Sequence[str], *, names: str = "", where: str) -> tuple[str, ...]:
    """Return what each class is called in a prompt.

    Without a file: what follows the last slash, without a leading number, with blanks for underscores, and in lower
    case if all of it is in upper case: ``greek/GREEK SMALL LETTER BETA`` is ``greek small letter beta``.

    Args:
        classes: Names of the classes.
        names: A file with a line for each class: the class, a tab or blanks, and what it is called, such as
            ``n01440764 tench``. A class with blanks in it ends at a tab. It may have lines for other classes too.
        where: What messages call the source of the images.

    Raises:
        UserError: The file cannot be read, or lacks a class; or without one the classes are wnids, or two of them are
            called the same.
    """
    if names:
        called = _read(Path(names).expanduser())
        missing = [title for title in classes if title not in called]
        if missing:
            what = f"it has no name for class {missing[0]!r}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
            raise UserError(what, where=names, todo="add a line for each class")
        return tuple(called[title] for title in classes)
    todo = "write names=FILE, with a line such as 'n01440764 tench' for each class"
    found: dict[str, str] = {}
    for title in classes:
        if _WNID.fullmatch(title):
            raise UserError(f"class {title!r} says nothing in a prompt", where=where, todo=todo)
        name = _clean(title)
        if name in found:
            raise UserError(f"classes {found[name]!r} and {title!r} are both {name!r}", where=where, todo=todo)
        found[name] = title
    return tuple(found)


def _clean(title: str) -> str:
    last = title.rpartition("/")[2] or title
    name = " ".join(_NUMBERED.sub("", last, count=1).replace("_", " ").split()) or title
    return name if any(letter.islower() for letter in name) else name.lower()


def _read(path: Path) -> Mapping[str, str]:
    """Class -> name."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=str(path), todo="name a file of names") from error
    except ValueError as error:
        raise UserError("it is not text in UTF-8", where=str(path), todo="name a file of names") from error
    called: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        title, name = line.split("\t", 1) if "\t" in line else [*line.split(maxsplit=1), ""][:2]
        title, name = title.strip(), " ".join(name.split())
        if not title or not name:
            raise UserError(f"line {number} has no name", where=str(path), todo="write the class, a blank, its name")
        if called.setdefault(title, name) != name:
            raise UserError(f"line {number} names {title!r} again", where=str(path), todo="leave one of the two")
    return called
