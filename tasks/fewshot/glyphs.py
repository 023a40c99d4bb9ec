"""Glyphs: letters of the world's scripts, drawn from the fonts that matplotlib ships.

A script is a domain and a letter a class. The splits are split by script, so that novel classes are really novel: a
letter that looks like one of an earlier split (a Greek Alpha, after the Latin A) is left out of the later one.
"""

from __future__ import annotations

import functools
import importlib.util
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from .images import ImageSet, held

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SPLITS: dict[str, tuple[str, ...]] = {
    "base": ("latin", "cyrillic", "canadian-syllabics", "arabic"),
    "val": ("lao", "lisu", "old-italic"),
    "test": ("georgian", "armenian", "hebrew", "greek"),
}
"""Split -> its scripts, in the order in which letters that look alike are kept."""

_FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
)  # fmt: skip
_FEWEST_FACES = 2
_EM = 48
"""Font size in pixels at which a letter is drawn before it is scaled."""
_ALIKE = 0.95
"""Two letters whose clean drawings correlate more than this look alike."""
_CLEAN = 24
"""Side of a clean drawing in pixels."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One class: a letter and the faces that have it."""

    char: str
    script: str
    faces: tuple[str, ...]

    @property
    def name(self) -> str:
        """``greek/GREEK SMALL LETTER BETA``."""
        return f"{self.script}/{unicodedata.name(self.char)}"


def glyphs(split: str = "test", *, scripts: str = "", per_class: int = 20, size: int = 32, seed: int = 0) -> ImageSet:
    """Draw the letters of a split: every image has a face, rotation, scale, shift and noise of its own.

    Args:
        split: ``base``, ``val`` or ``test``.
        scripts: Only these scripts of the split, separated by ``/``, such as ``greek/hebrew``; empty for all.
        per_class: Images of each letter.
        size: Side of the images in pixels.
        seed: Of the drawing. An image depends on (seed, letter, number) alone.

    Returns:
        Images of mode RGB, ``size`` x ``size``, white on black.
    """
    if per_class < 1 or size < 8:
        raise UserError(
            f"cannot draw {per_class} images of {size} pixels a letter", where="glyphs", todo="ask for more"
        )
    chosen = _chosen_scripts(split, scripts)
    letters = [letter for letter in alphabet(split) if letter.script in chosen]
    images = [
        held(image) for letter in letters for image in (draw(letter, index, size, seed) for index in range(per_class))
    ]
    name = f"glyphs/{split}" + (f"/{scripts}" if scripts else "")
    labels = np.repeat(np.arange(len(letters)), per_class)
    return ImageSet(name, tuple(letter.name for letter in letters), labels, images)


@functools.cache
def alphabet(split: str) -> tuple[Letter, ...]:
    """Return the letters of a split, by script and code point, without any that looks like an earlier one."""
    seen = np.zeros((0, _CLEAN * _CLEAN), dtype=np.float32)
    for name, scripts in SPLITS.items():
        letters = [letter for script in scripts for letter in _letters()[script]]
        clean = np.stack([_clean(letter) for letter in letters])
        kept = _distinct(clean, seen)
        if name == split:
            return tuple(letters[i] for i in kept)
        seen = np.concatenate([seen, clean[kept]])
    raise UserError(f"there is no split {split!r}", where="glyphs", todo=f"choose from {', '.join(SPLITS)}")


def draw(letter: Letter, index: int, size: int, seed: int) -> Image:
    """Draw image number ``index`` of a letter."""
    from PIL import Image

    # Raw doubles of PCG64 are the same on every platform and in every version of NumPy; its distributions need not be.
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, ord(letter.char), index])))
    face, *u = rng.random(8)
    mask = _ink(letter.faces[int(face * len(letter.faces))], letter.char)
    angle = np.deg2rad(30 * u[0] - 15)
    scale = max(mask.size) / (size * (0.6 + 0.25 * u[1]))
    stretch, slant = 0.85 + 0.3 * u[2], 0.3 * u[3] - 0.15
    matrix = (
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[stretch, slant], [0, 1]] * scale
    )
    shift = size * (0.5 + 0.16 * (np.array(u[4:6]) - 0.5))
    offset = np.array(mask.size) / 2 - matrix @ shift
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    drawn = mask.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    noise = (rng.random((size, size)) - 0.5) * 60 * u[6]
    pixels = np.clip(np.asarray(drawn, dtype=np.float64) * (0.7 + 0.3 * u[6]) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")


def _chosen_scripts(split: str, scripts: str) -> Sequence[str]:
    known = SPLITS.get(split, ())
    chosen = scripts.split("/") if scripts else known
    for script in chosen if known else ():
        if script not in known:
            raise UserError(
                f"split {split!r} has no script {script!r}", where="glyphs", todo=f"choose from {', '.join(known)}"
            )
    return chosen


def _font_folder() -> Path:
    found = importlib.util.find_spec("matplotlib")  # found, not imported: only its font files are needed
    if found is None or found.origin is None:
        raise UserError("the fonts of matplotlib are needed", where="glyphs", todo="pip install 'adaptbench[images]'")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


@functools.cache
def _font(face: str) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(_font_folder() / f"{face}.ttf", _EM, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _letters() -> dict[str, tuple[Letter, ...]]:
    """Script -> its letters that at least two faces have."""
    from fontTools.ttLib import TTFont

    folder = _font_folder()
    maps = {face: TTFont(folder / f"{face}.ttf", lazy=True).getBestCmap() for face in _FACES}
    found: dict[str, list[Letter]] = {script: [] for scripts in SPLITS.values() for script in scripts}
    for code in sorted(set().union(*maps.values())):
        script = _script(chr(code))
        faces = tuple(face for face in _FACES if code in maps[face])
        if script in found and len(faces) >= _FEWEST_FACES:
            found[script].append(Letter(chr(code), script, faces))
    return {script: tuple(letters) for script, letters in found.items()}


def _script(char: str) -> str:
    """The script of a letter, as the first words of its name tell it; empty for what is not a letter."""
    name = unicodedata.name(char, "")
    if unicodedata.category(char) not in {"Lu", "Ll", "Lo"} or "LIGATURE" in name:
        return ""
    words = name.lower().split()
    return "-".join(words[:2]) if words[0] in {"old", "canadian"} else words[0]


@functools.lru_cache(maxsize=20_000)
def _ink(face: str, char: str) -> Image:
    """Draw a letter in white on black, cut to its ink."""
    from PIL import Image, ImageDraw

    font = _font(face)
    left, top, right, bottom = font.getbbox(char)
    image = Image.new("L", (max(int(right - left), 1) + 2, max(int(bottom - top), 1) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), char, fill=255, font=font)
    return image


def _clean(letter: Letter) -> npt.NDArray[np.float32]:
    """Draw a letter in its first face, scaled to its ink, as a vector of length one and mean zero."""
    from PIL import Image, ImageOps

    square = ImageOps.pad(_ink(letter.faces[0], letter.char), (_CLEAN, _CLEAN), Image.Resampling.BICUBIC)
    pixels: npt.NDArray[np.float32] = np.asarray(square, dtype=np.float32).ravel()
    pixels = pixels - pixels.mean()
    norm = float(np.linalg.norm(pixels))
    return pixels / norm if norm else pixels


def _distinct(clean: npt.NDArray[np.float32], seen: npt.NDArray[np.float32]) -> list[int]:
    """Return the rows that look like none in ``seen`` and like no earlier row that is kept; blank rows are dropped."""
    fresh = (np.linalg.norm(clean, axis=1) > 0) & ~(clean @ seen.T > _ALIKE).any(axis=1)
    alike = clean @ clean.T > _ALIKE
    kept: list[int] = []
    for row in np.flatnonzero(fresh):
        if not alike[row, kept].any():
            kept.append(int(row))
    return kept
