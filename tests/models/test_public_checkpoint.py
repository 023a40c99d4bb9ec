"""A public AdaLLaVA checkpoint brings its own decoder: names and config fields are those of its release."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.harness.figures import load_model
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.public import decoder
from adaptbench.models.adaptive.scheduler import Scheduler, load, save
from adaptbench.models.adaptive.switches import SchedulerConfig
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
WORDS = [*SPECIAL, *(f"w{n}" for n in range(40))]
ROWS = len(WORDS)
"""Of the original vocabulary. In transformers' LLaVA the image token and six rows of padding come after them."""
TEXT = {
    "hidden_size": 32, "intermediate_size": 50, "num_hidden_layers": 4, "num_attention_heads": 4,
    "vocab_size": ROWS + 7, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "rms_norm_eps": 1e-5,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
CONFIG = {
    "architectures": ["AdaLlavaLlamaForCausalLM"], "model_type": "ada_llava_llama", "token_selecting": "none",
    "scheduler_type": "L", "scheduler_rank": 2, "num_prefix_layers": 2, "hidden_act": "silu", "hidden_size": 32,
    "intermediate_size": 50, "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "vocab_size": ROWS, "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "torch_dtype": "bfloat16",
}  # fmt: skip
METHODS = {"l": AdaLlavaL, "h": AdaLlavaH}
SWITCHES = {"l": ("layers", 1), "h": ("heads", 2)}
BUDGETS = (1.0, 0.75, 0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


def llava(seed: int, text: Any = None) -> Any:
    """A LLaVA of random weights, so large that answers depend on all that is read."""
    torch.manual_seed(seed)
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION), text_config=text or hf.LlamaConfig(**TEXT), image_token_index=ROWS
    )
    model = hf.LlavaForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else 0.5)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
        parameter.data = parameter.data.bfloat16().float()
    model.lm_head.weight.data[: len(SPECIAL)] = 0  # special tokens are never the most probable
    return model


def write(model: Any, folder: Path) -> Path:
    """Write a model, with a processor, as transformers does."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    hf.LlavaProcessor(images, tokenizer, patch_size=8, vision_feature_select_strategy="default").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the base; not to be changed."""
    return write(llava(0), tmp_path_factory.mktemp("public") / "base")


@pytest.fixture(scope="session")
def base(folder: Path) -> HFMultimodal:
    return HFMultimodal(str(folder), conversation="plain")


@pytest.fixture(scope="session")
def finetuned() -> Any:
    """The LLaVA that public checkpoints of these tests hold, with other weights than the base in all its parts."""
    return llava(1)


@pytest.fixture(scope="session")
def direct(folder: Path, finetuned: Any, tmp_path_factory: pytest.TempPathFactory) -> HFMultimodal:
    """The base's tower and further rows with all else of the finetuned model, saved and loaded as one LLaVA."""
    model = hf.LlavaForConditionalGeneration.from_pretrained(folder)
    tensors = finetuned.state_dict()
    for name, tensor in model.state_dict().items():
        if "vision_tower" not in name:
            rows = ROWS if len(tensor) == TEXT["vocab_size"] else None
            tensor[:rows] = tensors[name][:rows]
    written = write(model, tmp_path_factory.mktemp("public") / "direct")
    return HFMultimodal(str(written), conversation="plain")


def scheduler(kind: str) -> Scheduler:
    switch, rank = SWITCHES[kind]
    given = {"switch": switch, "layers": 4, "heads": 4, "prefix": 2, "rank": rank, "hidden": 32}
    made = Scheduler(SchedulerConfig.model_validate(given))
    chance = torch.Generator().manual_seed(2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=chance)
        parameter.data = parameter.data.bfloat16().float()
    return made


def released(model: Any, kind: str = "l") -> dict[str, torch.Tensor]:
    """The tensors of a public checkpoint."""
    own = {name: tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()}
    tensors = {f"scheduler.{name}": part.detach().bfloat16() for name, part in scheduler(kind).state_dict().items()}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    for old, new in (("0", "linear_1"), ("2", "linear_2")):
        for part in ("weight", "bias"):
            tensors[f"model.mm_projector.{old}.{part}"] = own[f"model.multi_modal_projector.{new}.{part}"]
    tensors["lm_head.weight"] = own["lm_head.weight"][:ROWS]
    tensors["model.embed_tokens.weight"] = own["model.language_model.embed_tokens.weight"][:ROWS]
    tensors["model.norm.weight"] = own["model.language_model.norm.weight"]
    blocks = "model.language_model.layers."
    tensors |= {f"model.layers.{name.removeprefix(blocks)}": own[name] for name in own if name.startswith(blocks)}
    tower = "model.vision_tower."
    tensors |= {f"{tower}vision_tower.{name.removeprefix(tower)}": own[name] for name in own if name.startswith(tower)}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def publish(tensors: dict[str, torch.Tensor], folder: Path, kind: str = "l", **changed: Any) -> str:
    """Write a public checkpoint in two files with an index."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"scheduler_type": kind.upper()} | changed))
    places = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        save_file({name: tensors[name] for name in tensors if places[name] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return str(folder)


@pytest.fixture(scope="session")
def public(finetuned: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """``l`` or ``h`` -> folder of a public checkpoint; not to be changed."""
    folders = {kind: tmp_path_factory.mktemp("public") / f"ada-llava-{kind}" for kind in METHODS}
    for kind, folder in folders.items():
        publish(released(finetuned, kind), folder, kind)
        save_file({"model.norm.weight": torch.zeros(32)}, folder / "zz-left-behind.safetensors")  # not in the index
    return lambda kind: str(folders[kind])


def batch() -> list[Prompt]:
    """Questions of different lengths to three images, and one without."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 40, 2 + place % 5)) for place in range(7)]
    shown = [(images[place % 3],) if place else () for place in range(7)]
    return [Prompt(text, seen, tuple(map(image_digest, seen)), 6) for text, seen in zip(texts, shown, strict=True)]


def logits(model: HFMultimodal) -> torch.Tensor:
    with torch.inference_mode():
        return model.module(**model.prepare(batch()))  # type: ignore[no-any-return]


# It is the checkpoint's decoder that runs


@pytest.mark.parametrize("kind", ["l", "h"])
def test_a_public_checkpoint_answers_as_a_model_that_is_built_of_its_weights(
    kind: str, folder: Path, base: HFMultimodal, direct: HFMultimodal, public: Callable[[str], str], tmp_path: Path
) -> None:
    save(load(public(kind)), tmp_path)
    spec = f"llava:{folder}(conversation=plain)+adallava-{kind}(checkpoint={public(kind)})"
    cells = plan(load_plugins().registry, Request([spec], ["shapes-pope"], budgets=BUDGETS)).cells
    seen = []
    for cell, budget in zip(cells, BUDGETS, strict=True):
        ours = load_model(cell)
        expected = METHODS[kind](checkpoint=str(tmp_path), budget=budget).apply(direct)
        assert ours.answer(batch()) == expected.answer(batch())
        assert torch.equal(logits(ours), logits(expected))
        seen.append(ours.generate(batch()))
        assert seen[-1] != METHODS[kind](checkpoint=str(tmp_path), budget=budget).apply(base).generate(batch())
    assert seen[0] != seen[1] != seen[2], "the budget changes nothing"


def test_the_base_stays_as_it_was_and_lends_its_tower(base: HFMultimodal, public: Callable[[str], str]) -> None:
    before = base.generate(batch())
    ours = AdaLlavaL(checkpoint=public("l"), budget=0.75).apply(base)
    assert base.generate(batch()) == before
    one, two = ours.module.model, base.module.model
    assert one.model.vision_tower is two.model.vision_tower
    for name in ("lm_head.weight", "model.language_model.embed_tokens.weight"):
        assert torch.equal(one.get_parameter(name)[ROWS:], two.get_parameter(name)[ROWS:])
        assert not torch.equal(one.get_parameter(name)[:ROWS], two.get_parameter(name)[:ROWS])


def test_every_parameter_but_the_towers_is_the_checkpoints(
    base: HFMultimodal, direct: HFMultimodal, public: Callable[[str], str]
) -> None:
    tensors = decoder(public("l"), base.module.model)
    expected = {
        name: parameter for name, parameter in direct.module.model.named_parameters() if "vision_tower" not in name
    }
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert not any(tensor.requires_grad for tensor in tensors.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_have_the_dtype_of_the_base(dtype: torch.dtype, public: Callable[[str], str]) -> None:
    assert {tensor.dtype for tensor in decoder(public("l"), llava(0).to(dtype)).values()} == {dtype}


def test_one_file_without_an_index_and_a_whole_vocabulary(finetuned: Any, base: HFMultimodal, tmp_path: Path) -> None:
    tensors, state = released(finetuned), finetuned.state_dict()
    tensors["lm_head.weight"] = state["lm_head.weight"].bfloat16()
    tensors["model.embed_tokens.weight"] = state["model.language_model.embed_tokens.weight"].bfloat16()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, tmp_path / "model.safetensors")
    found = decoder(str(tmp_path), base.module.model)
    assert len(found) == sum("vision_tower" not in name for name in state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_a_scheduler_of_ours_has_no_public_decoder(base: HFMultimodal, tmp_path: Path) -> None:
    save(scheduler("l"), tmp_path)
    assert decoder(str(tmp_path), base.module.model) == {}


# What does not fit is said in a line


Q = "model.layers.2.self_attn.q_proj"
BLOCK = [
    *(f"model.layers.3.self_attn.{part}_proj.weight" for part in "qkvo"),
    *(f"model.layers.3.mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
    *(f"model.layers.3.{part}_layernorm.weight" for part in ("input", "post_attention")),
]
BAD: dict[str, tuple[Mapping[str, torch.Tensor | None], str]] = {
    "layer": (dict.fromkeys(BLOCK), r"lack model\.layers\.3\."),
    "projector": ({"model.mm_projector.2.bias": None}, r"lack model\.mm_projector\.2\.bias"),
    "head": ({"lm_head.weight": None}, r"lack lm_head\.weight"),
    "narrow": ({f"{Q}.weight": torch.zeros(16, 32)}, r"q_proj\.weight is \(16, 32\), and the model's is \(32, 32\)"),
    "rows": ({"lm_head.weight": torch.zeros(52, 32)}, r"lm_head\.weight is \(52, 32\), and the model's is \(51, 32\)"),
    "width": ({"model.embed_tokens.weight": torch.zeros(ROWS, 31)}, r"embed_tokens\.weight is \(44, 31\)"),
    "scalar": ({"lm_head.weight": torch.tensor(1.0)}, r"lm_head\.weight is \(\)"),
    "bias": ({f"{Q}.bias": torch.zeros(32)}, r"it has model\.layers\.2\..*bias, for which the model has no place"),
    "deeper": ({"model.layers.4.mlp.up_proj.weight": torch.zeros(50, 32)}, r"it has model\.layers\.4"),
}  # fmt: skip
"""What is left out or changed -> what is said."""


@pytest.mark.parametrize("case", BAD)
def test_weights_of_another_model_are_refused(case: str, finetuned: Any, base: HFMultimodal, tmp_path: Path) -> None:
    changed, why = BAD[case]
    tensors = {name: tensor for name, tensor in (released(finetuned) | changed).items() if tensor is not None}
    path = publish(tensors, tmp_path)
    with pytest.raises(UserError, match=why) as caught:
        decoder(path, base.module.model)
    assert str(caught.value).startswith(f"checkpoint {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rope_theta": 1e6}, "its config.json has rope_theta 1000000.0, and the model's is 10000.0"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps 1e-06, and the model's is 1e-05"),
        ({"hidden_act": "gelu"}, "hidden_act gelu, and the model's is silu"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    ],
)
def test_another_computation_on_the_same_shapes_is_refused(
    changed: dict[str, Any], why: str, finetuned: Any, base: HFMultimodal, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=why):
        decoder(publish(released(finetuned), tmp_path, **changed), base.module.model)


def test_another_architecture_is_refused(public: Callable[[str], str]) -> None:
    qwen = llava(0, hf.Qwen2Config(**TEXT))
    with pytest.raises(UserError, match=r"its language model is a llama, and the model's is a qwen2"):
        decoder(public("l"), qwen)


def test_a_vocabulary_is_not_padded_without_end(public: Callable[[str], str]) -> None:
    other = llava(0, hf.LlamaConfig(**TEXT | {"vocab_size": ROWS + 129}))
    with pytest.raises(UserError, match=r"embed_tokens\.weight is \(44, 32\), and the model's is \(173, 32\)"):
        decoder(public("l"), other)


def test_a_checkpoint_that_is_not_whole_is_refused(finetuned: Any, base: HFMultimodal, tmp_path: Path) -> None:
    path = publish(released(finetuned), tmp_path)
    second, index = tmp_path / "model-00002-of-00002.safetensors", tmp_path / "model.safetensors.index.json"
    whole, listed = second.read_bytes(), index.read_text()
    second.unlink()
    with pytest.raises(UserError, match=r"index\.json names model-00002-of-00002\.safetensors, which is not there"):
        AdaLlavaL(checkpoint=path).apply(base)
    second.write_bytes(whole[:200])
    with pytest.raises(UserError, match=r"cannot read model-00002-of-00002\.safetensors"):
        AdaLlavaL(checkpoint=path).apply(base)
    second.write_bytes(whole)
    for broken in ("{", "[]", '{"weight_map": []}'):
        index.write_text(broken)
        with pytest.raises(UserError, match=r"cannot read model\.safetensors\.index\.json"):
            AdaLlavaL(checkpoint=path).apply(base)
    index.write_text(listed)
    assert load_file(second)
    AdaLlavaL(checkpoint=path).apply(base)


def test_files_of_pytorch_are_not_read(base: HFMultimodal, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(UserError, match=r"no \*\.safetensors, and .* such as \*\.bin, are not read; save its weights"):
        AdaLlavaL(checkpoint=str(tmp_path)).apply(base)


# Whole checkpoints in the same layout, which LLaVA's own code wrote


@pytest.fixture
def original(finetuned: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write the finetuned model as LLaVA's own code does, with or without its tower, which lies in a folder beside."""

    def make(*, tower: bool, **changed: Any) -> Path:
        folder, beside = tmp_path / "original", tmp_path / "tower"
        model = copy.deepcopy(finetuned)
        model.lm_head.weight.data[ROWS:] = 0  # rows that only transformers' LLaVA has are never the most probable
        standard = write(model, tmp_path / "standard")
        hf.CLIPConfig(vision_config=VISION).save_pretrained(beside)
        tensors = {name: part for name, part in released(finetuned).items() if not name.startswith("scheduler.")}
        prefix = "model.vision_tower.vision_tower."
        own = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
        save_file(
            {f"vision_model.{name}": part for name, part in own.items()}, beside / "model.safetensors", {"format": "pt"}
        )
        hf.CLIPImageProcessorPil.from_pretrained(standard).save_pretrained(beside)
        publish({name: part for name, part in tensors.items() if tower or not name.startswith(prefix)}, folder)
        config = {
            **CONFIG,
            "model_type": "llava",
            "architectures": ["LlavaLlamaForCausalLM"],
            "mm_vision_tower": str(beside),
        }
        (folder / "config.json").write_text(json.dumps({**config, **changed}))
        tokenizer = hf.AutoTokenizer.from_pretrained(standard)
        plain = json.loads(tokenizer.backend_tokenizer.to_str())
        plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] != "<image>"]
        hf.PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(json.dumps(plain)),
            bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        ).save_pretrained(folder)  # fmt: skip
        return folder

    return make


@pytest.mark.parametrize("tower", [True, False])
def test_an_original_llava_answers_as_the_same_model_in_transformers_layout(
    tower: bool, original: Callable[..., Path], tmp_path: Path
) -> None:
    ours = HFMultimodal(str(original(tower=tower)), conversation="plain")
    same = HFMultimodal(str(tmp_path / "standard"), conversation="plain")
    assert torch.equal(logits(ours), logits(same)[..., :ROWS])
    assert ours.generate(batch()) == same.generate(batch())
    assert ours.architecture.language.stack == same.architecture.language.stack
    assert ours.architecture.vision == same.architecture.vision


def test_an_original_llava_is_known_by_its_tower_too(original: Callable[..., Path], tmp_path: Path) -> None:
    folder = original(tower=False)
    before = HFMultimodal.fingerprint(str(folder))
    (tmp_path / "tower" / "config.json").write_text("{}")
    assert HFMultimodal.fingerprint(str(folder)) != before


def test_an_original_llava_with_another_projector_is_refused(original: Callable[..., Path]) -> None:
    folder = original(tower=True, mm_projector_type="linear")
    with pytest.raises(UserError, match="its mm_projector_type is 'linear'"):
        HFMultimodal(str(folder))
    for file in folder.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(UserError, match=r"such as \*\.bin, are not read"):
        HFMultimodal(str(folder))
