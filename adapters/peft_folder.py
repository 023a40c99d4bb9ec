"""An adapter that peft saved - LoRA and its kin - on a network: its folder, its checks, live or merged.

A wrong adapter loads in silence: peft warns of missing keys at most, and the network answers as before. Here whatever
does not go together is refused. The network that is given stays as it is, though peft changes what it is given.
"""

from __future__ import annotations

import copy
import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.errors import UserError
from ..harness.hashing import sha256_file, sha256_hex
from .loading import checkpoint, quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LIVE = ("LORA", "IA3")
"""Kinds that can stay beside the weights: what they cost there is known."""
_MERGED = (
    *LIVE, "ADALORA", "BOFT", "C3A", "DELORA", "FOURIERFT", "GRALORA", "HRA", "LN_TUNING", "LOHA", "LOKR", "MISS",
    "OFT", "RANDLORA", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
"""Kinds that peft puts into the weights of a network's layers."""
_PROMPTS = ("CPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
"""Kinds that put tokens of their own before the prompt."""
_UNSAID = {
    "alora_invocation_tokens": "it acts from some token of the prompt on only",
    "layer_replication": "it repeats layers of its model",
    "arrow_config": "it chooses among several adapters",
}
"""Settings of LoRA under which a network with its layers does not say what peft's model does."""
_NAME = "default"
"""What peft calls an adapter that it is given no name for."""


class Adapter(NamedTuple):
    """An adapter's folder, as far as it is known without loading it.

    Attributes:
        folder: Where its files are.
        where: What it is called in messages.
        kind: peft's name of what it is, such as ``LORA``.
        base: The model that it says it was made for; empty if it does not.
        shapes: Of its tensors, by their names.
    """

    folder: Path
    where: str
    kind: str
    base: str
    shapes: Mapping[str, tuple[int, ...]]


def fingerprint(path: str, revision: str | None = None) -> str:
    """Identify an adapter without loading it: hash of its two files, or the commit of a hub id."""
    folder = _folder(path, revision)
    if not Path(path).expanduser().is_dir():
        return f"hub:{path}@{folder.name}"
    return "files:" + sha256_hex(*(sha256_file(folder / name).encode() for name in (CONFIG, WEIGHTS)))


def read_adapter(path: str, revision: str | None = None) -> Adapter:
    """Read what an adapter is; of its weights, names and shapes.

    Args:
        path: Folder that peft's ``save_pretrained`` wrote, or hub id.
        revision: Branch, tag or commit of a hub id.

    Raises:
        UserError: There is none, its files cannot be read, or it is of a kind that changes no layers.
    """
    folder, where = _folder(path, revision), f"adapter {path}"
    again = "copy or save the adapter again"
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"its {CONFIG} is not JSON: {error}", where=where, todo=again) from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise UserError(f"its {CONFIG} names no peft_type", where=where, todo=again)
    kind = config["peft_type"].upper()
    if kind in _PROMPTS:
        raise UserError(
            f"a {kind} puts tokens of its own before the prompt, which only peft's own model does",
            where=where,
            todo="name an adapter that changes layers, such as a LoRA",
        )
    if kind not in _MERGED:
        raise UserError(f"no adapter of kind {kind} can be used", where=where, todo=f"name a {', '.join(_MERGED)}")
    for name, why in _UNSAID.items():
        if config.get(name):
            raise UserError(f"it has {name}: {why}", where=where, todo="name an adapter without it")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="np") as archive:
            shapes = {name: tuple(archive.get_slice(name).get_shape()) for name in archive.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"its {WEIGHTS} is cut off or spoilt: {error}", where=where, todo=again) from error
    base = config.get("base_model_name_or_path")
    return Adapter(folder, where, kind, base if isinstance(base, str) else "", shapes)


def adapted(network: Any, adapter: Adapter, *, merged: bool) -> Any:
    """Return a network with an adapter; it shares with the given one what the adapter does not change.

    Args:
        network: A transformers model.
        adapter: What `read_adapter` returned.
        merged: Put it into the weights, so that the network is made of the same layers as the given one; if not, it
            stays beside them.

    Raises:
        UserError: The two do not go together, or the adapter changes nothing.
    """
    if getattr(network, "hf_quantizer", None) is not None:
        todo = "name the checkpoint that they were made of"
        raise UserError("an adapter cannot be put on quantised weights", where=adapter.where, todo=todo)
    with _refusals(network, adapter):
        import peft
        from safetensors.torch import load_file

        config: Any = peft.PeftConfig.from_pretrained(str(adapter.folder))
        config.inference_mode = True
        tensors = _of_body(load_file(adapter.folder / WEIGHTS), config, network)
        around = peft.PeftModel(_apart(network, tensors), config, _NAME)
        report = peft.set_peft_model_state_dict(around, tensors, _NAME)
        learned = {name for name, _ in around.named_parameters() if _NAME in name.split(".")}
        _check_whole(report.unexpected_keys, learned.intersection(report.missing_keys), adapter, network)
        _check_tied(around, adapter, merged=merged)
        if not any(map(_changes, around.modules())):
            what = "it changes nothing: all that it adds is zero, as before any training"
            raise UserError(what, where=adapter.where, todo="name an adapter that was trained")
        found = around.merge_and_unload(safe_merge=True) if merged else around.get_base_model()
    learn = {name for name, parameter in network.named_parameters() if merged and parameter.requires_grad}
    for name, parameter in found.named_parameters():
        parameter.requires_grad_(name in learn)
    return found.eval()


def shared_copy(network: Any) -> Any:
    """Copy a network's structure, but not its numbers: parameters of its own that lie in the same memory.

    What is assigned to the copy's parameters does not reach the given network; what is written into them does.
    """
    import torch

    memo: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        memo[id(parameter)] = torch.nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
    return copy.deepcopy(network, memo)


def _of_body(tensors: Mapping[str, Any], config: Any, network: Any) -> Mapping[str, Any]:
    """An adapter's tensors, for an encoder without the head that it was trained with; the head's are left out."""
    prefix = getattr(network, "base_model_prefix", "")
    around = f"base_model.model.{prefix}."
    body = {name.replace(around, "base_model.model.", 1): each for name, each in tensors.items() if around in name}
    if not prefix or not body or hasattr(network, prefix):
        return tensors
    config.modules_to_save = None
    return body


def _apart(network: Any, tensors: Mapping[str, Any]) -> Any:
    """A copy that has of its own what peft writes into: biases, and whatever else an adapter's file has whole."""
    copied = shared_copy(network)
    for name, parameter in copied.named_parameters():
        if parameter.ndim < 2 or f"base_model.model.{name}" in tensors:
            parameter.data = parameter.data.clone()
    return copied


def _check_whole(unexpected: Iterable[str], missing: Iterable[str], adapter: Adapter, network: Any) -> None:
    """Refuse an adapter that has tensors too many for a network, or too few."""
    kind = type(network).__name__
    for names, what in (
        (sorted(unexpected), "has {}, for which this {} has no place"),
        (sorted(missing), "lacks {}, which this {} needs"),
    ):
        if names:
            shown = names[0].removeprefix("base_model.model.") + (f" and {len(names) - 1} more" if names[1:] else "")
            todo = "name an adapter that was made for this model"
            raise UserError(f"it {what.format(shown, kind)}", where=adapter.where, todo=todo)
    hollow = [name for name, tensor in network.named_parameters() if tensor.is_meta]
    if hollow:
        raise UserError(f"the model's {hollow[0]} is not loaded", where=adapter.where, todo="load the whole model")


def _check_tied(around: Any, adapter: Adapter, *, merged: bool) -> None:
    """Refuse to merge into weights that another layer reads too: beside them, the adapter changes one of the two."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not merged:
        return
    named = list(around.named_parameters(remove_duplicate=False))
    for path, module in around.named_modules():
        if isinstance(module, BaseTunerLayer):
            own = {id(weight) for weight in module.get_base_layer().parameters()}
            others = [name for name, weight in named if id(weight) in own and not name.startswith(f"{path}.")]
            if others:
                what = f"{path.removeprefix('base_model.model.')} shares its weights with another layer, which a merge "
                raise UserError(f"{what}would change too", where=adapter.where, todo="write merged=false")


def _changes(module: Any) -> bool:
    """Whether what peft put in place of a layer says something else than the layer; false of all other modules."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if isinstance(module, ModulesToSaveWrapper):
        pairs = zip(module.original_module.parameters(), module.modules_to_save[_NAME].parameters(), strict=True)
        return any(not torch.equal(old, new) for old, new in pairs)
    if not isinstance(module, BaseTunerLayer):
        return False
    old = dict(module.get_base_layer().named_parameters())
    trial = copy.deepcopy(module)
    trial.merge(safe_merge=True)
    new = dict(trial.get_base_layer().named_parameters())
    return any(not torch.equal(old[name], new[name]) for name in old)


def _folder(path: str, revision: str | None) -> Path:
    """The folder of an adapter, which has both of its files."""
    where = f"adapter {path}"
    try:
        folder = checkpoint(path, revision, (CONFIG, WEIGHTS))
    except UserError as error:
        raise UserError(error.what, where=where, todo=error.todo.replace("save_pretrained", "peft")) from error
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            pickled = name == WEIGHTS and (folder / "adapter_model.bin").is_file()
            what = f"it has no {name}" + (", only pickled weights, which are never opened" if pickled else "")
            todo = (
                "save it with peft's save_pretrained" if pickled else "name a folder that peft's save_pretrained wrote"
            )
            raise UserError(what, where=where, todo=todo)
    return folder


@contextmanager
def _refusals(network: Any, adapter: Adapter) -> Iterator[None]:
    """Turn what peft raises about an adapter into one line, and keep its warnings from the user."""
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"cannot import peft: {error}", where=adapter.where, todo="pip install 'adaptbench[peft]'"
        ) from error
    except Exception as error:  # what a file leads to may go wrong in any way
        what = f"peft cannot put it on this {type(network).__name__}: {' '.join(str(error).split())[:250]}"
        todo = "name an adapter that was made for this model; one made with transformers 4 may name layers otherwise"
        raise UserError(what, where=adapter.where, todo=todo) from error
