"""CoCoOp (dissertation, A.7.3; Zhou et al. 2022): prompts whose first words are learned, and shifted by the image.

A prompt is the context, the name of a class and a full stop. The context's vectors begin as the embeddings of words; a
small net makes of an image's embedding one vector that is added to each of them. So the texts of all classes are
embedded anew for every image. The model stays as it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from ...harness.errors import UserError
from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray
    from .sources import Shape

_BOTTLENECK = 16
"""How much narrower the net's hidden layer is than an image's embedding."""
_ROWS = 256
"""Texts to embed at a time; at least those of one image."""


class Context(nn.Module):
    """What is learned.

    Args:
        words: Embeddings to begin with, [k, w].
        width: Of an image's embedding, d.
    """

    def __init__(self, words: torch.Tensor, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(words.detach().clone())
        hidden = max(1, width // _BOTTLENECK)
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, words.shape[1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the context of each image, [n, k, w], from its embedding of length one, [n, d]."""
        shifted: torch.Tensor = self.vectors + self.net(images)[:, None]
        return shifted


def new_context(model: Any, words: str, seed: int) -> Context:
    """Return a context that begins as the embeddings of words, with a net that is drawn.

    Args:
        model: An `adapters.transformers_dual.HFDualEncoder`.
        words: At least one token.
        seed: Of the net.
    """
    ids = model.tokenizer(words, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    embedding, (row, *_) = token_embedding(model.network), model.embed_texts([words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Context(embedding.weight[ids.to(embedding.weight.device)].float(), len(row))


class Prompts:
    """The prompts of classes, with places for the context.

    Args:
        model: An `adapters.transformers_dual.HFDualEncoder`.
        words: In the place of the context: its tokens are the places.
        names: Of the classes.

    Attributes:
        tokens: What the model makes of each prompt: [classes, tokens].
        first: Place of the context's first token.

    Raises:
        UserError: The words are not the same tokens in every prompt.
    """

    def __init__(self, model: Any, words: str, names: Sequence[str]) -> None:
        bare = model.tokenizer(words, add_special_tokens=False)["input_ids"]
        self.tokens: Mapping[str, torch.Tensor] = model.tokenise([f"{words} {name}." for name in names])
        ids = self.tokens["input_ids"]
        starts = [at for at in range(ids.shape[1] - len(bare)) if _holds(ids, bare, at)] if bare else []
        if not starts:
            todo = "choose other words"
            raise UserError("its tokens are others before a name", where=f"context {words!r}", todo=todo)
        self.first = starts[0]


def _holds(ids: torch.Tensor, some: Sequence[int], at: int) -> bool:
    return bool((ids[:, at : at + len(some)] == ids.new_tensor(some)).all())


class Scorer(nn.Module):
    """Embeds images as their cosines with prompts.

    Args:
        model: An `adapters.transformers_dual.HFDualEncoder`.
        context: Learned for it.
        prompts: Of the classes.
    """

    def __init__(self, model: Any, context: Context, prompts: Prompts) -> None:
        super().__init__()
        self.encoder, self.context = model.module, context
        self._model, self.prompts = model, prompts

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return cosines, [images, classes]."""
        images = normalize(self.encoder(**inputs).float(), dim=-1)
        return self.cosines(images, self.prompts.tokens)

    def cosines(self, images: torch.Tensor, tokens: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Compare embeddings of images, of length one, with prompts."""
        classes = len(tokens["input_ids"])
        step = max(1, _ROWS // classes)
        parts = [self._some(images[at : at + step], tokens, classes) for at in range(0, len(images), step)]
        return torch.cat(parts)

    def _some(self, images: torch.Tensor, tokens: Mapping[str, torch.Tensor], classes: int) -> torch.Tensor:
        contexts = self.context(images).repeat_interleave(classes, dim=0)
        every = {name: part.to(images.device).repeat(len(images), 1) for name, part in tokens.items()}
        with _in_place(token_embedding(self.encoder.network), contexts, self.prompts.first):
            texts = self._model.text_features(**every)
        each = normalize(texts.float(), dim=-1).view(len(images), classes, -1)
        cosines: torch.Tensor = (each @ images[:, :, None]).squeeze(-1)
        return cosines


class CoCoOpTrainee(Trainee):
    """A context and its net.

    Args:
        scorer: For all classes; its context learns.
        scale: Of the cosines.
        shape: Of each task; ``None`` to classify among all classes.
    """

    def __init__(self, scorer: Scorer, scale: float, shape: Shape | None) -> None:
        super().__init__()
        self.scorer, self._scale, self._shape = scorer, scale, shape
        scorer.encoder.requires_grad_(False)

    def forward(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss``: cross-entropy among the classes of a task, or all; see `LockedText`."""
        with torch.no_grad():
            images = normalize(self.scorer.encoder(**inputs).float(), dim=-1)
        tokens = self.scorer.prompts.tokens
        if self._shape is None:
            return {"loss": cross_entropy(self._scale * self.scorer.cosines(images, tokens), labels)}
        ways, _, queries = self._shape
        losses = []
        for some, own in zip(torch.split(images, ways * queries), torch.split(labels, ways * queries), strict=True):
            asked = own[::queries]
            of_task = {name: part.to(asked.device)[asked] for name, part in tokens.items()}
            right = torch.arange(ways, device=labels.device).repeat_interleave(queries)
            losses.append(cross_entropy(self._scale * self.scorer.cosines(some, of_task), right))
        return {"loss": torch.stack(losses).mean()}


def token_embedding(network: nn.Module) -> nn.Embedding:
    """Return the module that embeds tokens.

    Raises:
        UserError: The architecture has none that can be told from others.
    """
    size = getattr(getattr(network.config, "text_config", network.config), "vocab_size", 0)
    found = [part for part in network.modules() if isinstance(part, nn.Embedding) and part.num_embeddings == size]
    if len(found) != 1:
        raise UserError("its embedding of tokens cannot be found", where="recipe cocoop", todo="name a CLIP")
    return found[0]


@contextmanager
def _in_place(embedding: nn.Embedding, contexts: torch.Tensor, first: int) -> Iterator[None]:
    """Have an embedding of tokens return contexts, [rows, k, w], from one place on."""

    def replace(_module: nn.Module, _given: Any, embedded: torch.Tensor) -> torch.Tensor:
        rest = embedded[:, first + contexts.shape[1] :]
        return torch.cat([embedded[:, :first], contexts.to(embedded.dtype), rest], dim=1)

    handle = embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


class CoCoOpModel:
    """A model of images and texts with learned prompts: it scores classes by their names.

    Args:
        model: An `adapters.transformers_dual.HFDualEncoder`.
        context: Learned for it.
        words: That the context began as.
    """

    def __init__(self, model: Any, context: Context, words: str) -> None:
        self._model, self._context, self._words = model, context.eval(), words

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return what the base returns, float32 [n, d]."""
        vectors: FloatArray = self._model.embed(images)
        return vectors

    def for_classes(self, names: Sequence[str]) -> Scores:
        """Return what embeds an image as its cosines with the prompts of classes."""
        return Scores(self._model, Scorer(self._model, self._context, Prompts(self._model, self._words, names)).eval())


class Scores:
    """Embeds images as scores for classes.

    Args:
        model: Which prepares images.
        module: A `Scorer`.
    """

    def __init__(self, model: Any, module: Scorer) -> None:
        self.module, self.prepare = module, model.prepare

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [images, classes]."""
        with torch.inference_mode():
            scores: FloatArray = self.module(**self.prepare(images)).cpu().numpy()
        return scores
