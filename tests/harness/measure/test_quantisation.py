"""Bytes of quantised weights, by the layouts of the formats."""

from __future__ import annotations

from typing import Any

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import DEFAULT
from adaptbench.harness.measure.quantisation import Quantisation, read_quantisation
from adaptbench.harness.measure.work import Work

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False}


def quantised(stated: dict[str, Any]) -> Quantisation:
    found = read_quantisation({"model_type": "llama", "quantization_config": stated})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("stated", "size"),  # of a matrix of 512 outputs x 1024 inputs
    [
        # qweight; per group of 128 inputs and output a scale of 2 bytes and a zero point; an index of 4 bytes an input
        (GPTQ, 512 * 1024 // 2 + 8 * 512 * 2 + 8 * 512 // 2 + 4 * 1024),
        ({**GPTQ, "group_size": -1, "bits": 8}, 512 * 1024 + 512 * 2 + 512 + 4 * 1024),
        ({**GPTQ, "bits": 3}, (512 * 1024 * 3 + 8 * 512 * 19) // 8 + 4 * 1024),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 512 * 1024 // 2 + 16 * 512 * 2 + 16 * 512 // 2),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 128}, 512 * 1024 // 2 + 8 * 512 * 2 + 8 * 512 // 2),
        (BNB, 512 * 1024 // 2 + 4 * 512 * 1024 // 64),
        ({**BNB, "bnb_4bit_use_double_quant": True}, 512 * 1024 // 2 + 512 * 1024 // 64 + 4 * 512 * 1024 // 64 // 256),
        ({"load_in_8bit": True}, 512 * 1024 + 4 * 512),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 512 * 1024 + 4 * 4 * 8),
        ({"quant_method": "fp8", "activation_scheme": "static"}, 512 * 1024 + 4),
        ({"quant_method": "fbgemm_fp8"}, 512 * 1024 + 4 * 512),
        ({"quant_method": "mxfp4"}, 512 * 1024 // 2 + 512 * 1024 // 32),
    ],
)
def test_bytes_of_a_matrix(stated: dict[str, Any], size: int) -> None:
    assert quantised(stated).bytes_of(1024, 512) == size


def test_a_part_of_a_block_has_a_scale_of_its_own() -> None:
    assert quantised({"quant_method": "fp8", "weight_block_size": [128, 128]}).bytes_of(130, 129) == 130 * 129 + 4 * 4


Q, EXPERT, HEAD = "model.layers.3.self_attn.q_proj", "model.layers.3.mlp.experts.7.up_proj", "lm_head"
GATE, TOWER = "model.layers.3.mlp.gate", "vision_tower.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("stated", "covered"),
    [
        (GPTQ, {Q, EXPERT, GATE}),
        ({**GPTQ, "lm_head": True}, {Q, EXPERT, GATE, HEAD}),
        ({**GPTQ, "modules_in_block_to_quantize": [["self_attn.q_proj"], ["self_attn.o_proj"]]}, {Q}),
        ({"quant_method": "awq", "modules_to_not_convert": ["vision_tower", "mlp.gate"]}, {Q, EXPERT}),
        (BNB, {Q, EXPERT, GATE, TOWER}),
        ({**BNB, "llm_int8_skip_modules": ["model.layers.3"]}, {HEAD, TOWER}),
        ({**BNB, "llm_int8_skip_modules": ["model.layers.*.self_attn"]}, {EXPERT, GATE, HEAD, TOWER}),
        ({"quant_method": "fp8", "modules_to_not_convert": ["lm_head", "model.layers.3.mlp.gate"]}, {Q, EXPERT, TOWER}),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head", "(["]}, {EXPERT}),
        ({"quant_method": "hqq"}, set()),
    ],
)
def test_which_layers_are_quantised(stated: dict[str, Any], covered: set[str]) -> None:
    how = quantised(stated)
    assert {name for name in (Q, EXPERT, GATE, TOWER, HEAD) if how.covers(name)} == covered


def test_a_config_of_the_language_model_alone_leaves_the_tower() -> None:
    how = read_quantisation({"text_config": {"quantization_config": BNB}})
    assert how is not None
    assert (how.covers(Q), how.covers(TOWER)) == (True, False)
    assert read_quantisation({"text_config": None, "quantization_config": None}) is None


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({**GPTQ, "bits": 5}, "bits is 5"),
        ({**GPTQ, "bits": True}, "bits is True"),
        ({**GPTQ, "group_size": 0}, "group_size is 0"),
        ({**BNB, "load_in_8bit": True}, "4bit and 8bit"),
        ({"quant_method": "bitsandbytes"}, "in nothing"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size is 128"),
    ],
)
def test_a_contradiction_is_refused(stated: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        quantised(stated)


def test_memory_and_traffic_follow() -> None:
    def work(**more: Any) -> Work:
        config = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 1024, "intermediate_size": 2048,
                  "num_attention_heads": 8, "vocab_size": 1000, **more}  # fmt: skip
        return Work.whole(read_architecture(config), text_tokens=8)

    plain, small = work(), work(quantization_config=GPTQ)
    how = quantised(GPTQ)
    square, wide, narrow = how.bytes_of(1024, 1024), how.bytes_of(1024, 2048), how.bytes_of(2048, 1024)
    blocks = 2 * (4 * 1024 * 1024 + 3 * 1024 * 2048)
    saved = 2 * blocks - 2 * (4 * square + 2 * wide + narrow)
    assert plain.memory(DEFAULT, 2).total - small.memory(DEFAULT, 2).total == saved
    for part in (Work.operators, Work.decode):
        plainly, less = (sum(o.bytes_moved(2) for o in part(one, DEFAULT)) for one in (plain, small))
        assert plainly - less == saved
        assert sum(o.flops for o in part(plain, DEFAULT)) == sum(o.flops for o in part(small, DEFAULT))
    assert "gptq, 4 bits, a scale for 128 inputs" in small.assumed[0]
