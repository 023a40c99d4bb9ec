"""Both encoders trained with the contrastive loss of their pretraining (dissertation, A.7.2; Goyal et al. 2023).

The loss of CLIP compares each image with the texts of all, and each text with all images; that of SigLIP asks of each
pair whether it belongs together. An image's text is its class's name in a template that is drawn; images of one class
all belong to its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch.nn.functional import cross_entropy, logsigmoid, normalize

from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from .sources import Shape

Loss = Literal["softmax", "sigmoid"]


class Contrastive(Trainee):
    """A model of images and texts, all of it.

    Args:
        model: An `adapters.transformers_dual.HFDualEncoder`, trained in place.
        tokens: What its ``tokenise`` makes of each template with each name: [classes, templates, tokens].
        shape: Of each task: images and texts are compared within one.
        loss: ``softmax`` (CLIP) or ``sigmoid`` (SigLIP).
    """

    def __init__(self, model: Any, tokens: Mapping[str, torch.Tensor], shape: Shape, loss: Loss) -> None:
        super().__init__()
        self.encoder, self._model, self._tokens = model.module, model, tokens
        self._images, self._loss = shape.ways * shape.queries, loss

    def forward(
        self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor, templates: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the ``loss``.

        Args:
            inputs: Of the image side; see `batches.Steps`.
            labels: Class of each image.
            templates: Position of the template of each image's text.
        """
        asked = {name: part.to(labels.device)[labels, templates] for name, part in self._tokens.items()}
        sides = self.encoder(**inputs), self._model.text_features(**asked)
        images, texts = (normalize(side.float(), dim=-1).view(-1, self._images, side.shape[1]) for side in sides)
        network = self.encoder.network
        logits = network.logit_scale.exp() * images @ texts.mT
        own = labels.view(-1, self._images)
        return {"loss": contrastive_loss(logits, own, getattr(network, "logit_bias", None), self._loss)}


def contrastive_loss(
    logits: torch.Tensor, labels: torch.Tensor, bias: torch.Tensor | None = None, loss: Loss = "softmax"
) -> torch.Tensor:
    """Return the loss of tasks of n images with n texts.

    Args:
        logits: Of each image with each text, [tasks, n, n].
        labels: Class of each, [tasks, n].
        bias: Added for ``sigmoid``.
        loss: Which.
    """
    same = (labels[:, :, None] == labels[:, None, :]).to(logits.dtype)
    if loss == "sigmoid":
        return -logsigmoid((2 * same - 1) * (logits if bias is None else logits + bias)).sum(dim=-1).mean()
    wanted = (same / same.sum(dim=-1, keepdim=True)).flatten(0, 1)
    return (cross_entropy(logits.flatten(0, 1), wanted) + cross_entropy(logits.mT.flatten(0, 1), wanted)) / 2
