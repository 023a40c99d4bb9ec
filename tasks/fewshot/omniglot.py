"""Omniglot (Lake et al., 2015): 1,623 characters of 50 alphabets, 20 drawings of each, in three splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ...harness.contracts import Input
from ...harness.errors import UserError
from ...harness.hashing import sha256_hex
from ..decoding import file_input
from .folders import class_folders, folder
from .images import collect
from .published import Published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from .images import ImageSet

Convention: TypeAlias = Literal["dissertation", "meta-dataset", "random"]

PUBLISHED: Mapping[str, Published] = {
    name: Published(f"omniglot-{name}", dict(zip(("train", "val", "test"), counts, strict=True)), each=20)
    for name, counts in (
        ("dissertation", (964, 301, 358)),  # A.5.3: the background set, 301 and 358 of the evaluation set
        ("meta-dataset", (883, 81, 659)),  # 25, 5 and 20 alphabets
        ("random", (1100, 100, 423)),  # of all characters, as learn2learn and others do
    )
}
_META_DATASET_VAL = frozenset(
    {
        "Alphabet_of_the_Magi",
        "Blackfoot_(Canadian_Aboriginal_Syllabics)",
        "Inuktitut_(Canadian_Aboriginal_Syllabics)",
        "Ojibwe_(Canadian_Aboriginal_Syllabics)",
        "Tagalog",
    }
)


def omniglot(
    root: str,
    *,
    split: str = "test",
    convention: Convention = "dissertation",
    rotations: bool = False,
    split_seed: int = 0,
    complete: bool = True,
) -> ImageSet:
    """Read ``ROOT/images_background`` and ``ROOT/images_evaluation``, ``<alphabet>/<character>/<image>`` each.

    Args:
        root: The folder of both.
        split: ``train``, ``val`` or ``test``.
        convention: ``dissertation`` has 964/301/358 characters, in the order of their names; ``meta-dataset`` has
            883/81/659 by alphabet, ``random`` 1100/100/423 of all.
        rotations: Whether each character turned by 90, 180 and 270 degrees is a further class.
        split_seed: Which random split.
        complete: Whether a missing drawing is an error. A missing character always is one: splits are runs of a list.

    Raises:
        UserError: It is not whole, or there is no such convention.
    """
    if convention not in get_args(Convention):
        todo = f"choose from {', '.join(get_args(Convention))}"
        raise UserError(f"no convention {convention!r}", where="omniglot", todo=todo)
    published = PUBLISHED[convention]
    split = published.split(split)
    base = folder(Path(root).expanduser(), "write root=FOLDER, where images_background and images_evaluation lie")
    background, evaluation = (_characters(base / name) for name in ("images_background", "images_evaluation"))
    files = background | evaluation
    if len(files) != sum(published.classes.values()):
        raise UserError(
            f"it has {len(files)} characters, not {sum(published.classes.values())}", where=str(base), todo="restore it"
        )
    titles = list(files)
    if convention == "meta-dataset":
        titles = [*sorted(background, key=lambda title: title.partition("/")[0] in _META_DATASET_VAL), *evaluation]
    elif convention == "random":
        titles.sort(key=lambda title: sha256_hex(str(split_seed).encode(), title.encode()))
    wanted = published.share(titles, split)
    if rotations:
        four_fold = {name: 4 * count for name, count in published.classes.items()}
        published = replace(published, name=f"{published.name}-rotations", classes=four_fold)
    classes = (
        (
            f"{title}/{degrees:03d}" if rotations else title,
            (_turned(file_input(path), degrees) for path in files[title]),
        )
        for title in wanted
        for degrees in ((0, 90, 180, 270) if rotations else (0,))
    )
    images = collect(published.name, classes, where=str(base))
    return published.checked(images, split, complete=complete, where=str(base))


def _characters(path: Path) -> dict[str, list[str]]:
    """Return the files of each character, by name."""
    folder(path, "write root=FOLDER, where images_background and images_evaluation lie")
    return dict(sorted(class_folders(str(path))))


def _turned(image: Input, degrees: int) -> Input:
    if not degrees:
        return image

    def load() -> Image:
        turned: Image = image.load().rotate(degrees, expand=True)
        return turned

    return Input(sha256_hex(image.digest.encode(), f"{degrees} degrees".encode()), load)
