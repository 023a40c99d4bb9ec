"""What pages are made of that hold all they show: templates, scripts, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.store.files import make_folder, write_atomic
from ..harness.texts import printable
from .board import need
from .long_tables import packed, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

_TEMPLATES = Path(__file__).parent / "templates"
_EXACT, _LARGEST = 256, 640
"""Pixels of a side of an image: the most at which it is kept as it is, and the most that are shown."""


def environment() -> Any:
    """The templates, which escape what they are given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=_printable
    )
    made.filters |= {"parts": parts, "written": written, "packed": packed}
    return made


def parts(name: str) -> Any:
    """A name that may wrap between its parts: after ``+ ( , @ :`` and the like."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[+(,@:|=_/.])(?=.)", printable(name)))


def _printable(value: Any) -> Any:
    """What a template sets: texts of strangers without controls; what is markup already is ours."""
    return printable(value) if type(value) is str else value


def policy(scripts: Sequence[str] = (), *, images: bool = False, files: bool = False) -> str:
    """Nothing may be fetched from elsewhere, and no script may run but a page's own.

    Args:
        scripts: Those that the page holds.
        images: Whether images that it holds may be shown.
        files: Whether it may use scripts, styles and images that are files beside it.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    own = ["'self'"] if files else []
    sources = {
        "default-src": "'none'",
        "script-src": " ".join([*own, *(f"'sha256-{digest}'" for digest in hashes)]) or "'none'",
        "style-src": " ".join([*own, "'unsafe-inline'"]),
        **({"img-src": " ".join([*own, "data:"])} if images else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in sources.items())


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they come with vl-convert; the module sets ``window.vegaEmbed``.

    vl-convert takes a second to put them together, so they are kept in the user's cache.
    """
    need("vl_convert")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adaptbench"
    kept = cache / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return kept.read_text(encoding="utf-8")
    bundle: str = need("vl_convert").javascript_bundle()
    with suppress(OSError, UserError):  # a cache that cannot be written only costs time
        make_folder(cache)
        write_atomic(kept, bundle.encode())
    return bundle


def inline(script: str) -> str:
    """A script that ends where its element ends, with the line ends that a browser hashes."""
    return re.sub(r"</(?=script)", r"<\\/", script.replace("\r\n", "\n").replace("\r", "\n"), flags=re.IGNORECASE)


def text(name: str) -> str:
    """The text of a file beside the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def data_url(image: Image, largest: int = _LARGEST) -> str:
    """An image as a URL that holds it, made smaller where a side has more than ``largest`` pixels."""
    kind, content = encoded(image, largest)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def encoded(image: Image, largest: int = _LARGEST) -> tuple[str, bytes]:
    """Kind and content of an image: as PNG if it is small, to the pixel; else as JPEG, for it may be a photograph."""
    stream, small = io.BytesIO(), image.convert("RGB")
    small.thumbnail((largest, largest))
    kind = "png" if max(small.size) <= _EXACT else "jpeg"
    small.save(stream, kind.upper(), quality=85)
    return kind, stream.getvalue()
