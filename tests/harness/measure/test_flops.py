"""FLOPs: the convention, what runs and is not read, and the agreement of two counters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.flops import Flops, count_again, count_both, count_flops, parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
IMAGE = (1, 3, 16, 16)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        return self.function(*args, **kwargs)


class Layers(nn.Module):
    """Layers of which some may be skipped or masked, and of which the last is run but not read."""

    def __init__(self, keep: int = 4, mask: bool = False, unread: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(4))
        self.keep, self.mask, self.unread = keep, mask, unread

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = [x]
        for place, layer in enumerate(self.layers):
            kept = place < self.keep
            if kept or self.mask:
                states.append(states[-1] + layer(states[-1]) * float(kept))
        return states[-2] if self.unread else states[-1]


class Routed(nn.Module):
    """A router, as a module or as a bare product, that only steers Python."""

    def __init__(self, as_module: bool) -> None:
        super().__init__()
        self.router, self.work, self.as_module = nn.Linear(8, 64), nn.Linear(8, 8), as_module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.router(x) if self.as_module else x @ self.router.weight.T
        return self.work(x) if bool(scores.sum() > -1e9) else x


def tiny(kind: str, attention: str = "sdpa") -> nn.Module:
    import transformers as hf

    torch.manual_seed(0)
    if kind == "resnet":
        config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
        return hf.ResNetModel(config).eval()
    name = {"vit": "ViT", "clip": "CLIPVision", "dinov2": "Dinov2"}[kind]
    extra = {} if kind == "dinov2" else {"intermediate_size": 32}
    config = getattr(hf, f"{name}Config")(**SIZE, **extra, attn_implementation=attention)
    return getattr(hf, f"{name}Model")(config).eval()


def value(module: nn.Module, **kwargs: torch.Tensor) -> int:
    return count_flops(module, kwargs).value


def test_a_multiply_accumulate_is_two_flops() -> None:
    flops = count_flops(Call(torch.matmul), {"input": torch.ones(3, 4), "other": torch.ones(4, 5)})
    assert flops.value == 2 * 3 * 4 * 5
    assert flops.stored().unit == "FLOP"


def test_a_broadcast_matmul_counts_every_batch() -> None:
    assert value(Call(torch.matmul), input=torch.ones(4, 8), other=torch.ones(10, 8, 16)) == 10_240


@given(st.lists(st.integers(2, 5), min_size=4, max_size=4))
@settings(max_examples=10, deadline=None)
def test_matrix_products_have_their_closed_form(sizes: list[int]) -> None:
    b, m, k, n = sizes
    left, right = torch.ones(b, m, k), torch.ones(b, k, n)
    assert value(Call(torch.bmm), input=left, mat2=right) == 2 * b * m * k * n
    einsum = Call(lambda x, y: torch.einsum("bmk,bkn->bmn", x, y))
    assert value(einsum, x=left, y=right) == 2 * b * m * k * n
    assert value(nn.Linear(k, n), input=left) == 2 * b * m * k * n


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(4, 6, 3), 6 * 6 * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), 4 * 4 * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2), 6 * 6 * 6 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), 8 * 8 * 4 * 6 * 4),
    ],
)
def test_convolutions_have_their_closed_form(layer: nn.Module, macs: int) -> None:
    assert value(layer, input=torch.ones(1, 4, 8, 8)) == 2 * macs


def test_fused_attention_has_its_closed_form() -> None:
    attention = Call(nn.functional.scaled_dot_product_attention)
    query, key, worth = torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4), torch.ones(1, 2, 5, 4)
    flops = count_flops(attention, {"query": query, "key": key, "value": worth})
    assert flops.value == 2 * 2 * (3 * 5 * 4 + 3 * 5 * 4)
    assert flops.attention == "sdpa"


@pytest.mark.parametrize("kind", ["vit", "clip", "dinov2"])
def test_eager_and_fused_attention_count_equally(kind: str) -> None:
    counts = {name: count_flops(tiny(kind, name), {"pixel_values": torch.ones(IMAGE)}) for name in ("eager", "sdpa")}
    assert counts["eager"].value == counts["sdpa"].value > 0
    assert {name: flops.attention for name, flops in counts.items()} == {"eager": "eager", "sdpa": "sdpa"}


@pytest.mark.parametrize("kind", ["vit", "clip", "dinov2", "resnet"])
def test_the_count_is_that_of_torch(kind: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    module = tiny(kind)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(pixel_values=torch.ones(IMAGE))
    assert value(module, pixel_values=torch.ones(IMAGE)) == counter.get_total_flops()


@pytest.mark.parametrize("kind", ["vit", "clip", "dinov2", "resnet"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_meta_device_counts_the_same(kind: str, attention: str) -> None:
    here = count_flops(tiny(kind, attention), {"pixel_values": torch.ones(IMAGE)})
    module = tiny(kind, attention).to("meta")
    assert count_flops(module, {"pixel_values": torch.ones(IMAGE, device="meta")}) == here
    assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv1d(2, 4, 3, padding="same"), (1, 2, 9)),
        (nn.Conv2d(2, 4, 3, groups=2, dilation=2), (1, 2, 9, 9)),
        (nn.Conv3d(2, 4, 3, stride=2, bias=False), (1, 2, 5, 5, 5)),
        (nn.ConvTranspose2d(2, 4, 2, stride=2), (1, 2, 3, 3)),
        (nn.Conv2d(2, 4, 3, dtype=torch.float16), (1, 2, 9, 9)),
    ],
)
def test_the_meta_device_counts_every_convolution_the_same(layer: nn.Module, size: tuple[int, ...]) -> None:
    x = torch.ones(size, dtype=next(layer.parameters()).dtype)
    here = value(layer, input=x)
    assert value(layer.to("meta"), input=x.to("meta")) == here > 0


def test_convolutions_called_with_keywords_count_on_meta() -> None:
    convolve = Call(nn.functional.conv2d)
    image, weight = torch.ones(1, 2, 5, 5, device="meta"), torch.ones(3, 2, 2, 2, device="meta")
    assert value(convolve, input=image, weight=weight) == 2 * (3 * 4 * 4) * (2 * 2 * 2)


def test_the_meta_device_counts_linear_layers_the_same() -> None:
    x = torch.ones(1, 8)
    assert value(Layers().to("meta"), x=x.to("meta")) == value(Layers(), x=x)


@pytest.mark.parametrize(
    "without",
    [nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1)), tiny("resnet")],
    ids=["linear", "softmax at the end", "resnet"],
)
def test_a_model_without_attention_says_so(without: nn.Module) -> None:
    images = "pixel_values" if hasattr(without, "config") else "input"
    x = torch.ones(IMAGE) if hasattr(without, "config") else torch.ones(1, 4)
    assert count_flops(without, {images: x}).attention == "none"


@pytest.mark.parametrize(
    "product",
    [
        lambda q, k, v: torch.bmm((q @ k.mT).softmax(-1), v),
        lambda q, k, v: nn.functional.dropout((q @ k.mT).float().softmax(-1), training=False).to(v.dtype) @ v,
        lambda q, k, v: torch.einsum("bqk,bkd->bqd", (q @ k.mT).softmax(-1), v),
        lambda q, k, v: torch.baddbmm(v, (q @ k.mT).softmax(-1), v),
    ],
    ids=["bmm", "matmul", "einsum", "baddbmm"],
)
def test_products_around_a_softmax_are_eager_attention(product: Callable[..., torch.Tensor]) -> None:
    tokens = {name: torch.ones(2, 3, 4) for name in "qkv"}
    flops = count_flops(Call(product), tokens)
    assert (flops.value, flops.attention) == (2 * 2 * (2 * 3 * 3 * 4), "eager")


def test_two_kinds_of_attention_are_mixed_and_none_does_not_count_as_a_kind() -> None:
    kinds = {kind: Flops(1, "vision", attention=kind) for kind in ("none", "eager", "sdpa")}
    assert (kinds["eager"] + kinds["sdpa"]).attention == "mixed"
    assert (kinds["none"] + kinds["sdpa"]).attention == "sdpa"
    assert (kinds["none"] + kinds["none"]).attention == "none"
    assert ((kinds["eager"] + kinds["sdpa"]) + kinds["eager"]).attention == "mixed"


def test_skipped_work_lowers_the_count_and_masked_work_does_not() -> None:
    x = torch.ones(1, 8)
    full, skipped, masked = (value(m, x=x) for m in (Layers(), Layers(keep=2), Layers(keep=2, mask=True)))
    assert skipped * 2 == full == masked


def test_a_layer_that_runs_but_is_not_read_counts() -> None:
    assert value(Layers(unread=True), x=torch.ones(1, 8)) == 4 * 2 * 8 * 8


def test_a_router_that_only_steers_python_counts() -> None:
    assert value(Routed(as_module=True), x=torch.ones(1, 8)) == 2 * 8 * 64 + 2 * 8 * 8


def test_a_bare_product_that_only_steers_python_counts() -> None:
    assert value(Routed(as_module=False), x=torch.ones(1, 8)) == 2 * 8 * 64 + 2 * 8 * 8


def test_python_that_a_tracer_cannot_follow_is_no_obstacle() -> None:
    class Halved(Layers):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.vmap(lambda place: place < 5)(torch.arange(8))
            return super().forward(x[: int(round(x.shape[0] * 0.5, 7))]) * mask

    vmap = torch.vmap
    assert value(Halved(), x=torch.ones(4, 8)) == 2 * value(Layers(), x=torch.ones(1, 8))
    assert torch.vmap is vmap
    assert not hasattr(torch.Tensor, "__round__")


def test_a_parameter_may_be_the_input_of_a_module() -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.question, self.inner = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 3, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(self.question.expand(1, 4)) + x

    assert value(Asking(), x=torch.ones(1, 3)) == 2 * 4 * 3


def test_a_further_pass_is_counted_by_torch_alone() -> None:
    module = Layers().train()
    count = count_flops(module, {"x": torch.ones(1, 8)}).value
    assert count_again(module, {"x": torch.ones(3, 8)}) == 3 * count
    assert module.training


def test_what_only_one_counter_knows_is_refused() -> None:
    with pytest.raises(UserError, match=r"48 .*torch 0"):  # torch counts no product with a vector
        count_flops(Call(torch.matmul), {"input": torch.ones(2, 3, 4), "other": torch.ones(4)})


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(UserError, match="torch module"):
        count_flops(torch.matmul, {"input": torch.ones(2, 2), "other": torch.ones(2, 2)})  # type: ignore[arg-type]


def test_an_operator_without_a_counter_is_an_error_that_names_it() -> None:
    with pytest.raises(UserError, match="lstm"):
        count_flops(nn.LSTM(4, 4), {"input": torch.ones(2, 1, 4)})


def test_a_waived_operator_is_listed_only_where_it_ran() -> None:
    waived = count_flops(nn.LSTM(4, 4), {"input": torch.ones(2, 1, 4)}, waive=["aten::lstm"])
    assert waived.waived == ("aten::lstm",)
    assert count_flops(nn.Linear(2, 2), {"input": torch.ones(1, 2)}, waive=["aten::lstm"]).waived == ()


@pytest.fixture
def disagreement(monkeypatch: pytest.MonkeyPatch) -> str:
    """The message for a convolution in a nested module, with a torch that does not know convolutions."""
    from torch.utils import flop_counter

    registry = {op: f for op, f in flop_counter.flop_registry.items() if op is not torch.ops.aten.convolution}
    monkeypatch.setattr(flop_counter, "flop_registry", registry)
    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Conv1d(1, 1, 3)))
    with pytest.raises(UserError) as raised:
        count_flops(module, {"input": torch.ones(1, 1, 8)})
    return str(raised.value)


def test_a_disagreement_is_refused_with_both_numbers(disagreement: str) -> None:
    linear, conv = 2 * 8 * 8, 2 * 6 * 3
    assert f"{linear + conv}" in disagreement
    assert f"{linear}" in disagreement


def test_a_disagreement_names_the_innermost_module(disagreement: str) -> None:
    assert "36 and 0 in 1.0" in disagreement


def test_module_mode_gradients_and_statistics_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    module[0].eval()
    module[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    count_flops(module, {"input": torch.ones(2, 4)})
    assert [part.training for part in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_pass_that_cannot_be_traced_is_refused_and_leaves_no_hooks() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4)).train()
    module.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match=r"Sequential.*cannot be traced.*shapes"):
        count_flops(module, {"input": torch.ones(1, 4)})
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()]
    assert hooks == [1, 0, 0]
    assert all(part.training for part in module.modules())


def test_counting_draws_no_random_numbers() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    count_flops(module, {"input": torch.ones(1, 4)})
    assert torch.equal(torch.rand(1), expected)


def test_counting_is_silent_and_leaves_the_warning_filters(capfd: pytest.CaptureFixture[str]) -> None:
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count_flops(tiny("vit"), {"pixel_values": torch.ones(IMAGE)})
    assert warnings.filters == filters
    assert capfd.readouterr().err == ""


def test_without_fvcore_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "fvcore"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fvcore", "fvcore.nn", "fvcore.nn.jit_analysis"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"adaptbench\[torch\]"):
        count_flops(nn.Linear(2, 2), {"input": torch.ones(1, 2)})


def test_counts_of_one_convention_add_up() -> None:
    linear, two = nn.Linear(2, 3), {"input": torch.ones(1, 2)}
    flops = count_flops(linear, two)
    assert (flops + flops).value == 2 * flops.value == 24


def test_counts_of_different_phases_do_not_add_up() -> None:
    linear, two = nn.Linear(2, 3), {"input": torch.ones(1, 2)}
    with pytest.raises(UserError, match=r"vision.*prefill"):
        count_flops(linear, two) + count_flops(linear, two, phase="prefill")


def test_the_stored_form_says_the_same() -> None:
    flops = count_flops(nn.LSTM(4, 4), {"input": torch.ones(2, 1, 4)}, waive=["aten::lstm"], phase="decode")
    stored = flops.stored()
    assert (stored.value, stored.unit, stored.phase) == (flops.value, "FLOP", "decode")
    assert (stored.counter, stored.attention, stored.waived) == (flops.counter, flops.attention, ("aten::lstm",))


def test_a_count_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Flops(1, "vision").value = 2  # type: ignore[misc]


def test_a_shared_parameter_counts_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert parameters(nn.Sequential(first, second)) == 9 + 3 + 3


def test_a_model_may_exchange_a_module_in_its_first_pass() -> None:
    class Exchanging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner: nn.Module = nn.Identity()

        def forward(self, x: torch.Tensor) -> Any:
            if isinstance(self.inner, nn.Identity):
                self.inner = nn.Linear(4, 5, device=x.device)
            return self.inner(x)

    assert count_flops(Exchanging(), {"x": torch.zeros(3, 4)}).value == 2 * 3 * 4 * 5


def test_a_function_with_a_gradient_of_its_own_counts() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
            context.save_for_backward(x)
            return x @ x

    class Uses(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return Product.apply(x)

    assert count_flops(Uses(), {"x": torch.zeros(4, 4)}).value == 2 * 4**3


def test_an_einsum_that_sums_nothing_counts_nothing_as_in_torch() -> None:
    class Outer(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bc,bcd->bd", x[:, :1], x[:, :1, None].expand(-1, -1, 7))

    counted = count_both(Outer(), {"x": torch.zeros(3, 4)})
    assert (counted.flops.value, counted.agreed) == (0, True)
