"""The built-in models and methods, registered like anybody's plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.cards import MethodCard, ModelCard
from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.registry import Registrar

_HERE = "adaptbench.models.reference"
_ARCHITECTURES = Path(__file__).parent / "architectures"
_PLANS = {
    "adallava-h": "adaptive.plans:adallava_h",
    "adallava-l": "adaptive.plans:adallava_l",
    "fastv": "pruning.plans:fastv",
    "layers": "adaptive.plans:layers",
    "prumerge": "pruning.plans:prumerge",
    "prumerge-plus": "pruning.plans:prumerge_plus",
}


def _landmark(summary: str) -> ModelCard:
    return ModelCard(
        summary=summary, capabilities=("embed",), licence="Apache-2.0", training_data="none", reference=True
    )


def _untrained(summary: str) -> ModelCard:
    return ModelCard(summary=summary, capabilities=("embed",), licence="Apache-2.0", training_data="none")


@hookimpl
def register(registry: Registrar) -> None:
    """Register the reference models and the methods that act on any transformers encoder."""
    registry.model(
        "constant",
        f"{_HERE}.constant:constant",
        card=_landmark("The same vector for every image: always the first class"),
    )
    registry.model(
        "random", f"{_HERE}.random_vectors:random_vectors", card=_landmark("A random vector for each image content")
    )
    registry.model("pixels", f"{_HERE}.pixels:pixels", card=_untrained("Raw pixels"))
    registry.model(
        "random-features",
        f"{_HERE}.random_features:random_features",
        card=_untrained("Random projection of pixels, then ReLU"),
    )
    registry.model("hog", f"{_HERE}.hog:hog", card=_untrained("Histogram of oriented gradients (scikit-image)"))
    registry.model(
        "vit-glyphs",
        f"{_HERE}.vit_glyphs:vit_glyphs",
        card=ModelCard(
            summary="A small ViT trained on the base scripts of glyphs",
            capabilities=("embed",),
            licence="Apache-2.0",
            source="models/reference/weights/vit-glyphs",
            training_data="glyphs, base scripts",
            offers=frozenset({"layers"}),
        ),
    )
    for path in sorted(_ARCHITECTURES.glob("*.json")):
        registry.architecture(path.stem, "adaptbench.adapters.transformers_meta:card", args={"path": str(path)})
    for name, place in _PLANS.items():
        registry.plan(name, f"adaptbench.models.{place}")
    registry.method(
        "layers",
        f"{_HERE}.layers:layers",
        card=MethodCard(
            summary="Keep the first blocks of a transformers encoder: layers(keep=3), or a share of them: layers@0.5",
            licence="Apache-2.0",
            needs=frozenset({"layers"}),
            modifies=frozenset({"layers"}),
            takes_budget=True,
        ),
    )
