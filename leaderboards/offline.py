"""What pages are made of that hold all they show: templates, scripts, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .board import need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

_TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Any:
    """The templates, which escape what they are given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)


def policy(scripts: Sequence[str], *, images: bool = False) -> str:
    """Nothing may be fetched, and no script may run but those of this file; ``images`` that it holds may be shown."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'",
        "style-src": "'unsafe-inline'",
        **({"img-src": "data:"} if images else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in sources.items())


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they come with vl-convert; the module sets ``window.vegaEmbed``."""
    bundle: str = need("vl_convert").javascript_bundle()
    return bundle


def inline(script: str) -> str:
    """A script that ends where its element ends, with the line ends that a browser hashes."""
    return re.sub(r"</(?=script)", r"<\\/", script.replace("\r\n", "\n").replace("\r", "\n"), flags=re.IGNORECASE)


def text(name: str) -> str:
    """The text of a file beside the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def data_url(image: Image, largest: int = 640) -> str:
    """An image as a URL that holds it, made smaller where a side has more than ``largest`` pixels."""
    stream, small = io.BytesIO(), image.convert("RGB")
    small.thumbnail((largest, largest))
    small.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
