"""The built-in models and methods, registered like anybody's plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.cards import MethodCard, ModelCard
from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.cards import Capability
    from ..harness.registry import Registrar

_HERE = "adaptbench.models.reference"
_FINETUNED = "adaptbench.models.finetuning"
_ARCHITECTURES = Path(__file__).parent / "architectures"
_VISUAL = frozenset({"visual-tokens"})
_SCHEDULERS = frozenset({"adallava-l", "adallava-h"})
_SELECTORS = frozenset({
    "divprune", "g-prune", "grid-tokens", "hired", "pooled-tokens", "prumerge", "prumerge-plus", "random-tokens",
    "tome", "trim", "visionzip", "vispruner",
})  # fmt: skip
_DROPPING = frozenset({"dart", "fastv", "fitprune", "pyramiddrop", "sparsevlm", "vtw"})


def _method(
    summary: str,
    needs: frozenset[str],
    modifies: frozenset[str],
    combines_with: frozenset[str],
    *,
    baseline: bool = False,
) -> MethodCard:
    return MethodCard(
        summary=summary,
        licence="Apache-2.0",
        needs=needs,
        modifies=modifies,
        combines_with=combines_with,
        reference=baseline,
        takes_budget="blocks" in modifies,
    )


def _scheduler(summary: str) -> MethodCard:
    return _method(summary, frozenset({"decoder"}), frozenset({"blocks"}), _SELECTORS | _DROPPING)


def _selector(summary: str, *, baseline: bool = False) -> MethodCard:
    return _method(summary, _VISUAL, _VISUAL, _SCHEDULERS | _DROPPING, baseline=baseline)


def _dropping(summary: str) -> MethodCard:
    return _method(summary, _VISUAL | {"decoder"}, _VISUAL, _SELECTORS | _SCHEDULERS)


_PRUNING_AND_SCHEDULING = {
    "adallava-h": (
        "adaptive.adallava:AdaLlavaH",
        _scheduler("AdaLLaVA-H: a scheduler turns off heads and MLP channels, prompt by prompt"),
    ),
    "adallava-l": (
        "adaptive.adallava:AdaLlavaL",
        _scheduler("AdaLLaVA-L: a scheduler skips blocks, prompt by prompt"),
    ),
    "dart": (
        "pruning.dart:Dart",
        _dropping("DART: after k blocks, the visual tokens that are like others are dropped"),
    ),
    "divprune": (
        "pruning.divprune:DivPrune",
        _selector("DivPrune: visual tokens that are as far from each other as can be"),
    ),
    "g-prune": (
        "pruning.g_prune:GPrune",
        _selector("G-Prune: the visual tokens that a graph of likeness leads to"),
    ),
    "fastv": (
        "pruning.fastv:FastV",
        _dropping("FastV: after k blocks, the visual tokens that the last token attends to least are dropped"),
    ),
    "fitprune": (
        "pruning.fitprune:FitPrune",
        _dropping("FitPrune: after every block, visual tokens that are hardly attended to are dropped"),
    ),
    "grid-tokens": (
        "pruning.grid_tokens:GridTokens",
        _selector("Visual tokens at evenly spaced places", baseline=True),
    ),
    "hired": (
        "pruning.hired:Hired",
        _selector("HiRED: the visual tokens that the CLS token attends to most"),
    ),
    "pooled-tokens": (
        "pruning.pooled_tokens:PooledTokens",
        _selector("Visual tokens averaged over a coarser grid"),
    ),
    "prumerge": (
        "pruning.prumerge:PruMerge",
        _selector("PruMerge: the visual tokens that stand out stay, the others are merged into them"),
    ),
    "prumerge-plus": (
        "pruning.prumerge:PruMergePlus",
        _selector("PruMerge+: PruMerge with a grid of further tokens"),
    ),
    "pyramiddrop": (
        "pruning.pyramiddrop:PyramidDrop",
        _dropping("PyramidDrop: visual tokens are dropped stage by stage, by the last token's attention"),
    ),
    "random-tokens": (
        "pruning.random_tokens:RandomTokens",
        _selector("Visual tokens at random places, the same ones in every image", baseline=True),
    ),
    "sparsevlm": (
        "pruning.sparsevlm:SparseVLM",
        _dropping("SparseVLM: visual tokens that few words of the question attend to are dropped, and some recycled"),
    ),
    "tome": (
        "pruning.tome:ToMe",
        _selector("ToMe: in every block of the tower, the tokens that are most alike become one"),
    ),
    "trim": (
        "pruning.trim:Trim",
        _selector("TRIM: the visual tokens that a CLIP puts beside the question, and the mean of the others"),
    ),
    "visionzip": (
        "pruning.visionzip:VisionZip",
        _selector("VisionZip: visual tokens that are attended to most, the others merged into a few"),
    ),
    "vispruner": (
        "pruning.vispruner:VisPruner",
        _selector("VisPruner: visual tokens that are attended to most, and others that differ"),
    ),
    "vtw": ("pruning.vtw:VTW", _dropping("VTW: after k blocks all visual tokens are dropped")),
}


_FINETUNING = {
    "lp-ft": "Linear probing, then finetuning, by `train lp-ft`",
    "maml": "First-order MAML, by `train maml`",
    "multitask-ft": "Multitask finetuning: trained on few-shot tasks, by `train multitask-ft`",
    "standard-ft": "Standard finetuning: trained with a head over all classes, by `train standard-ft`",
}
_DUAL_FINETUNING = {
    "cocoop": "CoCoOp: learned prompts, shifted by the image, by `train cocoop`",
    "contrastive-ft": "Images and texts trained together, by `train contrastive-ft`",
    "locked-text-ft": "Images trained towards the texts of classes, by `train locked-text-ft`",
}
_PROMPTING = {
    "prompt-ft": "Prompt-based finetuning on few samples of one task, by `train prompt-ft`",
    "multitask-prompt-ft": "Prompt-based finetuning on few samples of several tasks, by `train multitask-prompt-ft`",
}


def _baseline(summary: str, capability: Capability = "embed") -> ModelCard:
    return ModelCard(
        summary=summary, capabilities=(capability,), licence="Apache-2.0", training_data="none", reference=True
    )


def _untrained(summary: str) -> ModelCard:
    return ModelCard(summary=summary, capabilities=("embed",), licence="Apache-2.0", training_data="none")


@hookimpl
def register(registry: Registrar) -> None:
    """Register the reference models and the methods that act on any transformers encoder."""
    registry.model(
        "constant",
        f"{_HERE}.constant:constant",
        card=_baseline("The same vector for every image: always the first class"),
    )
    registry.model(
        "random", f"{_HERE}.random_vectors:random_vectors", card=_baseline("A random vector for each image content")
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
            offers=frozenset({"layers", "network"}),
        ),
    )
    _register_finetuning(registry)
    _register_glyphs_encoders(registry)
    _register_generators(registry)
    _register_methods(registry)
    _register_pupils(registry)
    _register_prompting(registry)
    for path in sorted(_ARCHITECTURES.glob("*.json")):
        registry.architecture(path.stem, "adaptbench.adapters.transformers_meta:card", args={"path": str(path)})
    registry.method(
        "layers",
        f"{_HERE}.layers:Layers",
        card=MethodCard(
            summary="Keep the first blocks of a transformers encoder: layers(keep=3), or a share of them: layers@0.5",
            licence="Apache-2.0",
            needs=frozenset({"layers"}),
            modifies=frozenset({"layers"}),
            takes_budget=True,
        ),
    )


def _register_finetuning(registry: Registrar) -> None:
    """Register what changes a model's weights: adapters, and what chapter 3 makes of an encoder of images."""
    network, weights = frozenset({"network"}), frozenset({"weights"})
    lora = _method("An adapter that peft saved, LoRA or its kin: lora(PATH)", network, weights, frozenset())
    registry.method("lora", f"{_FINETUNED}.lora:Lora", card=lora)
    for name, summary in _FINETUNING.items():
        _register_recipe(registry, name, "recipes", _method(summary, network, weights, frozenset()))
    for name, summary in _DUAL_FINETUNING.items():
        modifies = frozenset({"prompts"}) if name == "cocoop" else weights
        _register_recipe(registry, name, "dual_recipes", _method(summary, network | {"dual"}, modifies, frozenset()))


def _register_recipe(registry: Registrar, name: str, module: str, card: MethodCard) -> None:
    """Register a recipe, and the method that puts what it made on a base."""
    attribute = name.replace("-", "_")
    registry.method(name, f"{_FINETUNED}.methods:{attribute}", card=card)
    registry.recipe(name, f"{_FINETUNED}.{module}:{attribute}")


def _register_glyphs_encoders(registry: Registrar) -> None:
    """Register three small encoders to adapt, and their recipe."""
    for name, summary, data in (
        ("glyphs-supervised", "A small ViT that learned letters by their labels", "glyphs, Latin letters"),
        ("glyphs-contrastive", "A small ViT that learned letters without labels", "glyphs, Latin letters"),
        ("glyphs-random", "A small ViT that was never trained", "none"),
    ):
        card = ModelCard(
            summary=summary,
            capabilities=("embed",),
            licence="Apache-2.0",
            source=f"models/reference/weights/{name}",
            training_data=data,
            offers=frozenset({"layers", "network"}),
        )
        registry.model(name, f"{_HERE}.glyphs_encoders:{name.replace('-', '_')}", card=card)
    registry.recipe("glyphs-encoder", f"{_HERE}.glyphs_encoder_recipe:train_glyphs_encoder")


def _register_generators(registry: Registrar) -> None:
    """Register the models that talk."""
    registry.model(
        "tiny-icl",
        f"{_HERE}.tiny_icl:tiny_icl",
        card=ModelCard(
            summary="A small Llama trained to read examples of one function at a time",
            capabilities=("generate", "language"),
            licence="Apache-2.0",
            source="models/reference/weights/tiny-icl",
            training_data="prompts of the simple tasks A to H and of other functions, no composites; opposites and "
            "irregular pasts of all words, of the rest what is in no question",
            offers=frozenset({"network"}),
            lacks=frozenset({"images"}),
        ),
    )
    registry.recipe("tiny-icl", f"{_HERE}.tiny_icl_recipe:train_tiny_icl")
    registry.model(
        "says",
        f"{_HERE}.says:Says",
        card=_baseline("The same text whatever is asked: says:yes, says:A", "generate"),
    )
    registry.model(
        "rule-follower",
        f"{_HERE}.rule_follower:RuleFollower",
        card=ModelCard(
            summary="Applies the first task, the second, both in either order, or copies; told by the task",
            capabilities=("generate",),
            licence="Apache-2.0",
            training_data="none",
            reference=True,
            replays=True,
            needs=frozenset({"readings"}),
        ),
    )
    registry.model(
        "tiny-llava",
        f"{_HERE}.tiny_llava:tiny_llava",
        card=ModelCard(
            summary="A small LLaVA trained on drawn scenes of the world shapes",
            capabilities=("generate",),
            licence="Apache-2.0",
            source="models/reference/weights/tiny-llava",
            training_data="shapes, split train",
            offers=frozenset({"decoder", "images", "network", "visual-tokens"}),
        ),
    )
    registry.recipe("tiny-llava", f"{_HERE}.tiny_llava_recipe:train_tiny_llava")
    registry.recipe("tiny-text", f"{_HERE}.tiny_text_recipe:train_tiny_text")


def _register_methods(registry: Registrar) -> None:
    """Register what acts on any model of images and text."""
    registry.recipe("fitprune", "adaptbench.models.pruning.fit_fitprune:fit_fitprune")
    registry.recipe("vtw", "adaptbench.models.pruning.search_vtw:search_vtw")
    registry.recipe("adallava", "adaptbench.models.adaptive.adallava_recipe:train_adallava")
    for name, (place, card) in _PRUNING_AND_SCHEDULING.items():
        registry.method(name, f"adaptbench.models.{place}", card=card)
    images = frozenset({"images"})
    for name, target, baseline, summary in (
        ("blind", "blind:Blind", True, "Show the model a grey image instead of each image: the question-only baseline"),
        ("smaller-images", "smaller_images:SmallerImages", False, "Show the model images of fewer pixels"),
    ):
        card = _method(summary, images, images, frozenset(), baseline=baseline)
        registry.method(name, f"{_HERE}.{target}", card=card)


def _register_pupils(registry: Registrar) -> None:
    """Register the models of other families that ``tiny-llava`` taught."""
    for name, kind in (("tiny-internvl", "InternVL"), ("tiny-qwen-vl", "Qwen2.5-VL")):
        registry.model(
            name,
            f"{_HERE}.tiny_vlms:{name.replace('-', '_')}",
            card=ModelCard(
                summary=f"A small {kind} for the world shapes, with the language model of tiny-llava",
                capabilities=("generate",),
                licence="Apache-2.0",
                source=f"models/reference/weights/{name}",
                training_data="shapes, split train, and what tiny-llava sees in it",
                offers=frozenset({"decoder", "images", "network", "visual-tokens"}),
            ),
        )
        registry.recipe(name, f"{_HERE}.tiny_vlm_recipe:train_{name.replace('-', '_')}")


def _register_prompting(registry: Registrar) -> None:
    """Register the masked language model, and what is finetuned of any."""
    registry.model(
        "tiny-mlm",
        f"{_HERE}.tiny_mlm:tiny_mlm",
        card=ModelCard(
            summary="A small BERT trained on texts of a generated world",
            capabilities=("masked",),
            licence="Apache-2.0",
            source="models/reference/weights/tiny-mlm",
            training_data="60,000 texts of tasks.prompting.words_corpus; no prompts of words-shop, words-states and "
            "words-paraphrase",
            offers=frozenset({"network"}),
        ),
    )
    registry.recipe("tiny-mlm", f"{_HERE}.tiny_mlm_recipe:train_tiny_mlm")
    network, weights, both = frozenset({"network"}), frozenset({"weights"}), frozenset(_PROMPTING)
    for name, summary in _PROMPTING.items():
        _register_recipe(registry, name, "prompt_recipes", _method(summary, network, weights, both - {name}))
