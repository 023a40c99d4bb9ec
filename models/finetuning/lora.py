"""The method ``lora``: an adapter that was trained elsewhere, LoRA or another that peft knows (Hu et al. 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...adapters.live_adapters import beside, targets
from ...adapters.peft_folder import LIVE, adapted, fingerprint, read_adapter
from ...harness.errors import UserError
from ...harness.methods import Method
from .checkpoints import CARD, check_base

if TYPE_CHECKING:
    from ...adapters.peft_folder import Adapter
    from ...harness.measure.work import Work


class Lora(Method):
    """Put an adapter on a model.

    Nothing in an adapter identifies the weights that it was trained on: on others of the same shapes it loads, and says
    something else.
    """

    stage = "weights"

    checkpoint: str
    """Folder that peft's save_pretrained wrote, or hub id; lora(PATH) says it too."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    merged: bool = True
    """Whether it is put into the weights, and then costs nothing; else it stays beside them, as in training."""

    def apply(self, model: Any) -> Any:
        """Return the model with the adapter; what the adapter does not change is shared with the given one."""
        adapter = self._adapter()
        if (adapter.folder / CARD).is_file():
            check_base(model.network, str(adapter.folder), adapter.where)
        other = model.with_network(adapted(model.network, adapter, merged=self.merged))
        base = getattr(model.network, "name_or_path", "")
        if adapter.base and base and Path(adapter.base).name != Path(base).name:
            other.notes = (*getattr(model, "notes", ()), f"the adapter says that it was made for {adapter.base}")
        return other

    def leaves(self, work: Work) -> Work:
        """Return the work with the adapter beside the weights; merged it is the base's."""
        adapter = self._adapter()
        if self.merged:
            return work
        if work.always is not None:
            todo = "leave merged=false out"
            raise UserError("a scheduler runs parts of blocks, and a live adapter only runs whole", todo=todo)
        found = targets(adapter.shapes)
        sizes = {"visual_tokens": work.visual_tokens, "images": work.images}
        return work.with_beside(beside(found, tower=work.tower, blocks=work.execution, **sizes))

    def fingerprint(self) -> str:
        """Identify the adapter by its files."""
        return fingerprint(self.checkpoint, self.revision)

    def _adapter(self) -> Adapter:
        adapter = read_adapter(self.checkpoint, self.revision)
        if not self.merged and adapter.kind not in LIVE:
            what = f"a {adapter.kind} can only be merged: what it costs beside the weights is not known"
            raise UserError(what, where=adapter.where, todo="leave merged=false out")
        return adapter
