"""The built-in adapters, registered like anybody's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.cards import ModelCard, TaskCard
from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.registry import Registrar

_CONVERSATION = "in the checkpoint's chat template, or by conversation=; system=: a system prompt"
_DECODING = "greedy, as stock generate by the checkpoint's generation_config; decoding=bare: by the logits alone"
_STEERED = (
    (
        "llava",
        "HFMultimodal",
        "A LLaVA by local path or hub id, which methods can steer: llava:llava-hf/llava-1.5-7b-hf",
    ),
    (
        "llava-next",
        "HFLlavaNext",
        "A LLaVA-NeXT, which methods can steer: llava-next:llava-hf/llava-v1.6-vicuna-7b-hf",
    ),
    ("qwen-vl", "HFQwenVL", "A Qwen2-VL, 2.5 or 3, which methods can steer: qwen-vl:Qwen/Qwen2.5-VL-3B-Instruct"),
    ("internvl", "HFInternVL", "An InternVL, which methods can steer: internvl:OpenGVLab/InternVL3-1B-hf"),
)


@hookimpl
def register(registry: Registrar) -> None:
    """Register the bridges to other people's libraries."""
    registry.architecture("hf", "adaptbench.adapters.transformers_meta:pretrained")
    registry.architecture("stock", "adaptbench.adapters.stock:Stock")
    registry.architecture("tiny", "adaptbench.adapters.tiny_stock:tiny")
    registry.model(
        "hf",
        "adaptbench.adapters.transformers_vision:HFVisionEncoder",
        card=ModelCard(
            summary="Any transformers vision encoder, by local path or hub id: hf:facebook/dinov2-small",
            capabilities=("embed",),
            offers=frozenset({"layers", "network"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
    registry.model(
        "hf-dual",
        "adaptbench.adapters.transformers_dual:HFDualEncoder",
        card=ModelCard(
            summary="A CLIP, a SigLIP or the like, by local path or hub id: hf-dual:openai/clip-vit-base-patch32",
            capabilities=("embed", "dual"),
            prompts="the texts of the task as they stand",
            offers=frozenset({"dual", "network"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
    for name, adapter, summary in _STEERED:
        registry.model(
            name,
            f"adaptbench.adapters.transformers_multimodal:{adapter}",
            card=ModelCard(
                summary=summary,
                capabilities=("generate",),
                prompts=_CONVERSATION,
                decoding=_DECODING,
                offers=frozenset({"decoder", "images", "network", "visual-tokens"}),
                source="https://huggingface.co/docs/transformers",
            ),
        )
    registry.model(
        "hf-vlm",
        "adaptbench.adapters.transformers_image_text:HFImageTextToText",
        card=ModelCard(
            summary="Any transformers model of images and text, by local path or hub id",
            capabilities=("generate",),
            prompts=_CONVERSATION,
            decoding=_DECODING,
            offers=frozenset({"images", "network"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
    _register_language(registry)
    _register_elsewhere(registry)


def _register_elsewhere(registry: Registrar) -> None:
    """Register what answers for models that do not run here."""
    registry.model(
        "openai",
        "adaptbench.adapters.openai_server:ServedModel",
        card=ModelCard(
            summary="A model that an OpenAI-compatible server runs: openai:MODEL(url=http://localhost:8000/v1)",
            capabilities=("generate", "language"),
            prompts="as a chat, images first; chat=false: as they stand, as likelihoods always are",
            decoding="the server's, asked for temperature 0 and the run's seed",
            offers=frozenset({"images"}),
            source="https://platform.openai.com/docs/api-reference",
        ),
    )
    registry.model(
        "replay",
        "adaptbench.adapters.replay:Replay",
        card=ModelCard(
            summary="Predictions made elsewhere: replay:answers.jsonl, in any format that `adaptbench score` reads",
            capabilities=("embed", "dual", "generate", "language", "masked"),
            replays=True,
        ),
    )


def _register_language(registry: Registrar) -> None:
    """Register language models, and the bridge to lm-eval."""
    registry.model(
        "hf-lm",
        "adaptbench.adapters.transformers_causal:HFCausalLM",
        card=ModelCard(
            summary="Any transformers causal language model, by local path or hub id: hf-lm:EleutherAI/pythia-160m",
            capabilities=("generate", "language"),
            prompts="as they stand; chat=true: in the checkpoint's chat template, system=: a system prompt",
            decoding=_DECODING,
            offers=frozenset({"network"}),
            lacks=frozenset({"images"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
    registry.model(
        "hf-mlm",
        "adaptbench.adapters.transformers_masked:HFMaskedLM",
        card=ModelCard(
            summary="Any transformers masked language model, by local path or hub id: hf-mlm:FacebookAI/roberta-large",
            capabilities=("masked",),
            prompts="pieces tokenised apart and joined, one separator at the end",
            offers=frozenset({"network"}),
            source="https://huggingface.co/docs/transformers",
        ),
    )
    registry.task(
        "lm-eval",
        "adaptbench.adapters.lm_eval_tasks:LmEvalTask",
        card=TaskCard(
            summary="Any task of lm-eval, by name: lm-eval:hellaswag",
            capability="language",
            by_arguments=True,
            source="https://github.com/EleutherAI/lm-evaluation-harness",
        ),
    )
    registry.importer("inspect_ai", "adaptbench.adapters.inspect_logs:read_inspect")
    registry.importer("lm-eval", "adaptbench.adapters.lm_eval_results:read_lm_eval")
    registry.importer("lmms-eval", "adaptbench.adapters.lmms_eval_results:read_lmms_eval")
