"""The scheduler draws and chooses as the dissertation's Algorithm 3 says, never beyond a budget, and can be trained."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from adaptbench.harness.budgets import exact
from adaptbench.harness.errors import UserError
from adaptbench.models.adaptive.scheduler import (
    ContentNoise,
    Scheduler,
    best,
    in_order,
    latency_penalty,
    load,
    save,
)
from adaptbench.models.adaptive.switches import SchedulerConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.stats import chisquare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDTH = 12


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


def config(switch: str = "layers", **changed: Any) -> SchedulerConfig:
    given = {"layers": 6, "heads": 4, "prefix": 3, "rank": 2 if switch == "heads" else 1, "hidden": WIDTH}
    return SchedulerConfig.model_validate({"switch": switch, **given, **changed})


def scheduler(switch: str = "layers", **changed: Any) -> Scheduler:
    """With weights so large that what it says depends on all that it is given."""
    made = Scheduler(config(switch, **changed))
    chance = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=chance)
    return made


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def units(chosen: torch.Tensor, of: SchedulerConfig) -> list[float]:
    """Open units of each prompt."""
    return (chosen.flatten(1).sum(dim=1) / (1 if of.switch == "layers" else 2 * of.rank)).tolist()


# Latency encoder


def test_the_parameters_have_the_names_and_shapes_of_the_public_checkpoints() -> None:
    big = {"layers": 32, "heads": 32, "prefix": 16, "hidden": 64}
    for made, outputs in ((config(**big), 16), (config("heads", **big, rank=8), 16 * 32 * 2)):
        assert {name: tuple(part.shape) for name, part in Scheduler(made).state_dict().items()} == {
            "scheduler_up_proj.net.0.weight": (256,), "scheduler_up_proj.net.0.bias": (256,),
            "scheduler_up_proj.net.1.weight": (64, 256), "scheduler_up_proj.net.1.bias": (64,),
            "scheduler_up_proj.net.3.weight": (64, 64), "scheduler_up_proj.net.3.bias": (64,),
            "mlp_head.weight": (outputs, 64), "mlp_head.bias": (outputs,),
        }  # fmt: skip


def test_the_latency_token_is_sines_then_cosines_through_norm_and_mlp() -> None:
    made = scheduler()
    part = {name: value.detach().double().numpy() for name, value in made.state_dict().items()}
    net = "scheduler_up_proj.net"
    for k, token in enumerate(made.token(range(4)).detach().numpy()):
        angle = 2 * math.pi * k / (3 + 1)
        code = [math.sin(angle * 10000 ** (-i / 128)) for i in range(128)]
        code += [math.cos(angle * 10000 ** (-i / 128)) for i in range(128)]
        normed = (np.array(code) - np.mean(code)) / np.sqrt(np.var(code) + 1e-5)
        normed = normed * part[f"{net}.0.weight"] + part[f"{net}.0.bias"]
        inner = part[f"{net}.1.weight"] @ normed + part[f"{net}.1.bias"]
        inner = np.array([x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in inner])
        assert np.allclose(token, part[f"{net}.3.weight"] @ inner + part[f"{net}.3.bias"], atol=1e-3, rtol=1e-4)


def test_a_seed_makes_the_weights() -> None:
    one, same, other = (Scheduler(config(), seed=seed).mlp_head.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert float(one.detach().std()) == pytest.approx(0.02, rel=0.3)


# What is chosen


def greedy(logits: np.ndarray, k: int, rank: int) -> np.ndarray:
    """AdaLLaVA-H as the release does it, unit by unit: [S, 2, H]."""
    chosen = np.zeros(logits.shape, dtype=bool)
    for _ in range(k):
        inactive = np.where(chosen, -np.inf, logits)
        block = np.unravel_index(inactive.argmax(), inactive.shape)[0]
        for axis in (0, 1):
            chosen[block, axis, np.argsort(-inactive[block, axis], kind="stable")[:rank]] = True
    return chosen


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(max_examples=200)
def test_head_groups_are_chosen_as_one_by_one(seed: int, blocks: int, rank: int, groups: int, coarse: bool) -> None:
    heads = rank * groups
    of = config("heads", layers=blocks + 1, heads=heads, prefix=1, rank=rank)
    logits = normal(3, blocks, 2, heads, seed=seed)
    logits = logits.round() if coarse else logits  # many ties
    ks = [seed % (of.switched + 1), of.switched, 0]
    chosen = best(logits, ks, of)
    assert units(chosen, of) == ks
    if not coarse:
        for row, k in enumerate(ks):
            assert np.array_equal(chosen[row].numpy(), greedy(logits[row].numpy(), k, rank))


def test_blocks_are_chosen_by_their_logits() -> None:
    logits = torch.tensor([[0.1, 3.0, -1.0, 0.2], [5.0, 5.0, 5.0, 5.0]])
    chosen = best(logits, [2, 3], config(layers=8, prefix=4))
    assert chosen.tolist() == [[False, True, False, True], [True, True, True, False]]


def test_in_order_opens_block_after_block() -> None:
    of = config("heads")
    chosen = best(in_order(of.logits)(torch.zeros(2, WIDTH)), [3, 0], of)
    assert chosen[0].flatten(1).sum(dim=1).tolist() == [8, 4, 0]
    assert chosen[0, 1].tolist() == [[True, True, False, False]] * 2
    assert not chosen[1].any()
    layers = best(in_order((3,))(torch.zeros(1, WIDTH)), [2], config())
    assert layers.tolist() == [[True, True, False]]


DTYPES = [torch.float32, torch.bfloat16, torch.float16]
HOSTILE = [0.0, 1e30, -1e30, float("inf"), float("-inf"), float("nan"), 6e4, 1e-30]


@st.composite
def asked(draw: st.DrawFn) -> tuple[Scheduler, torch.Tensor, list[float]]:
    """A scheduler, hidden states in some precision, some of them hostile, and a budget for each prompt."""
    rank = draw(st.integers(1, 3))
    layers = draw(st.integers(2, 9))
    of = config(
        draw(st.sampled_from(["layers", "heads"])), layers=layers, heads=rank * draw(st.integers(1, 3)),
        prefix=draw(st.integers(1, layers - 1)), rank=rank,
        rule=draw(st.sampled_from(["probabilistic", "deterministic-topk", "random"])),
    )  # fmt: skip
    rows, seed = draw(st.integers(1, 12)), draw(st.integers(0, 10_000))
    hidden = normal(rows, WIDTH, seed=seed) * draw(st.sampled_from([1e-3, 1.0, 1e4]))
    for row in range(rows):
        if draw(st.integers(0, 4)) == 0:
            hidden[row, draw(st.integers(0, WIDTH - 1))] = draw(st.sampled_from(HOSTILE))
    shares = draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))
    floor = math.ceil(float(of.floor) * 1000) / 1000
    return Scheduler(of, seed), hidden.to(draw(st.sampled_from(DTYPES))), [
        min(1.0, round(floor + share * (1 - floor), 3)) for share in shares
    ]  # fmt: skip


@given(asked())
@settings(max_examples=500, deadline=None)
def test_no_budget_is_ever_violated_and_none_is_left_unused(
    case: tuple[Scheduler, torch.Tensor, list[float]],
) -> None:
    made, hidden, budgets = case
    of, ks = made.config, [made.config.k(budget) for budget in budgets]
    noise = ContentNoise(WIDTH, of.logits, seed=1)(hidden)
    with torch.no_grad():
        logits = made.logits(hidden)
        every = [made.choose(logits, ks), best(noise, ks, of), best(logits + noise, ks, of), made.sample(logits, ks)]
    for chosen in every:
        assert set(chosen.float().unique().tolist()) <= {0.0, 1.0}
        assert units(chosen, of) == ks
        for used, budget in zip(units(chosen, of), budgets, strict=True):
            assert of.share(int(used)) <= exact(budget) < of.share(int(used) + 1)


# What is drawn


def plackett_luce(logits: list[float], k: int) -> dict[tuple[int, ...], float]:
    """Probability of each set of k, by summing over the orders in which it can be drawn."""
    weights, chances = [math.exp(logit) for logit in logits], {}
    for order in itertools.permutations(range(len(weights)), k):
        chance, left = 1.0, sum(weights)
        for entry in order:
            chance *= weights[entry] / left
            left -= weights[entry]
        key = tuple(sorted(order))
        chances[key] = chances.get(key, 0.0) + chance
    return chances


def fits(chosen: torch.Tensor, chances: dict[tuple[int, ...], float]) -> bool:
    """Whether the sets in rows of bools follow a law, by a chi-square test."""
    drawn = [tuple(np.flatnonzero(row)) for row in chosen.numpy()]
    assert set(drawn) <= set(chances)
    observed = [drawn.count(key) for key in chances]
    return float(chisquare(observed, [len(drawn) * chance for chance in chances.values()]).pvalue) > 1e-3


LOGITS = [0.5, -1.0, 1.5, 0.0, -0.3]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_blocks_are_drawn_as_plackett_and_luce_say(k: int) -> None:
    made = scheduler(layers=10, prefix=5)
    logits = torch.tensor(LOGITS).expand(20_000, 5)
    drawn = made.sample(logits, [k] * 20_000, generator=torch.Generator().manual_seed(k)) > 0.5
    assert fits(drawn, plackett_luce(LOGITS, k))
    assert not fits(drawn, plackett_luce([logit / 5 for logit in LOGITS], k))  # tau is not part of the law


def test_a_unit_is_a_block_by_its_entries_then_heads_and_channels_of_it() -> None:
    of = config("heads", layers=3, heads=3, prefix=1, rank=1)
    made = Scheduler(of)
    logits = normal(2, 2, 3, seed=4).double()
    drawn = made.sample(logits.expand(30_000, -1, -1, -1), [1] * 30_000, generator=torch.Generator().manual_seed(0))
    chances: dict[tuple[int, ...], float] = {}
    of_block = logits.flatten().softmax(0).view(2, 6).sum(1)
    for block, head, group in itertools.product(range(2), range(3), range(3)):
        heads, groups = logits[block, 0].softmax(0), logits[block, 1].softmax(0)
        entries = (6 * block + head, 6 * block + 3 + group)
        chances[entries] = float(of_block[block] * heads[head] * groups[group])
    assert fits(drawn.flatten(1) > 0.5, chances)


def test_groups_of_a_block_are_drawn_together() -> None:
    of = config("heads", layers=2, heads=4, prefix=1, rank=2)
    logits = normal(1, 2, 4, seed=5)
    generator = torch.Generator().manual_seed(0)
    drawn = Scheduler(of).sample(logits.expand(20_000, -1, -1, -1), [1] * 20_000, generator=generator)
    for axis in (0, 1):
        assert fits(drawn[:, 0, axis] > 0.5, plackett_luce(logits[0, axis].tolist(), 2))


def test_random_draws_ignore_the_logits() -> None:
    made = scheduler(rule="random", layers=10, prefix=5)
    logits = torch.tensor(LOGITS).expand(20_000, 5).clone().requires_grad_()
    drawn = made.sample(logits, [2] * 20_000, generator=torch.Generator().manual_seed(0))
    assert fits(drawn > 0.5, plackett_luce([0.0] * 5, 2))
    assert not drawn.requires_grad


def test_each_prompt_has_its_own_budget() -> None:
    for switch, most in (("layers", 3), ("heads", 6)):
        made = scheduler(switch)
        logits = made.logits(normal(most + 1, WIDTH))
        assert units(made.sample(logits, range(most + 1)), made.config) == list(range(most + 1))


# Gradients


@pytest.mark.parametrize("switch", ["layers", "heads"])
@pytest.mark.parametrize("rule", ["probabilistic", "deterministic", "deterministic-topk"])
def test_gradients_reach_the_head(switch: str, rule: str) -> None:
    made = scheduler(switch, rule=rule)
    gates = made.sample(made.logits(normal(4, WIDTH)), [1, 2, 1, 2])
    (gates * normal(*gates.shape, seed=1)).sum().backward()
    assert made.mlp_head.weight.grad is not None
    assert float(made.mlp_head.weight.grad.abs().sum()) > 0
    assert bool(made.mlp_head.weight.grad.isfinite().all())


def test_the_gradient_of_a_draw_is_that_of_its_softmax() -> None:
    """Without noise, so that it can be written down: of two draws, the second without the first's pick."""
    made = scheduler(rule="deterministic-topk")
    logits, towards, tau = torch.tensor([[0.3, 1.0, -0.5]], requires_grad=True), torch.tensor([1.0, -2.0, 0.7]), 2.0
    (made.sample(logits, [2], tau=tau) * towards).sum().backward()
    copy = logits.detach().clone().requires_grad_()
    first = (copy / tau).softmax(1)
    second = (copy[:, [0, 2]] / tau).softmax(1)
    ((first * towards).sum() + (second * towards[[0, 2]]).sum()).backward()
    assert logits.grad is not None
    assert copy.grad is not None
    assert torch.allclose(logits.grad, copy.grad)


def test_the_temperature_changes_the_gradient_and_not_the_draw() -> None:
    made, drawn, slopes = scheduler(layers=10, prefix=5), [], []
    for tau in (0.5, 5.0):
        logits = torch.tensor([LOGITS] * 50, requires_grad=True)
        gates = made.sample(logits, [2] * 50, tau=tau, generator=torch.Generator().manual_seed(3))
        (gates * torch.arange(5.0)).sum().backward()
        drawn.append(gates.detach())
        slopes.append(logits.grad)
    assert torch.equal(*drawn)
    assert not torch.allclose(*slopes)


# Deterministic schedulers


def test_a_deterministic_scheduler_goes_by_the_sign_and_pays_for_what_is_beyond_the_budget() -> None:
    made = scheduler(rule="deterministic", layers=8, prefix=4)
    logits = torch.tensor([[1.0, -1.0, 2.0, 0.5], [-1.0, -1.0, -2.0, 3.0]])
    gates = made.sample(logits, [1, 1])
    assert gates.tolist() == [[1, 0, 1, 1], [0, 0, 0, 1]]
    assert torch.equal(made.choose(logits, [1, 1]), gates > 0.5)
    budgets = torch.tensor([0.75, 0.75])
    assert float(latency_penalty(gates, budgets, made.config, weight=4.0)) == pytest.approx(4 * (7 / 8 - 0.75) / 2)
    assert float(latency_penalty(gates, torch.tensor([0.9, 0.9]), made.config)) == 0


def test_the_penalty_counts_groups_of_heads_and_closes_switches() -> None:
    made = scheduler("heads", rule="deterministic")
    logits = torch.ones(1, 3, 2, 4, requires_grad=True)
    penalty = latency_penalty(made.sample(logits, [0]), torch.tensor([0.75]), made.config)
    assert float(penalty.detach()) == pytest.approx(0.25)
    penalty.backward()
    assert logits.grad is not None
    assert bool((logits.grad > 0).all())


def test_without_noise_the_best_are_drawn() -> None:
    made = scheduler("heads", rule="deterministic-topk")
    logits = made.logits(normal(4, WIDTH))
    for _ in range(2):
        drawn = made.sample(logits, [1, 2, 3, 6]) > 0.5
        assert torch.equal(drawn, best(logits, [1, 2, 3, 6], made.config))
        assert torch.equal(drawn, made.choose(logits, [1, 2, 3, 6]))


# Noise of the content


def test_noise_depends_on_the_prompt_and_on_nothing_else() -> None:
    noise, hidden = ContentNoise(WIDTH, (5,), seed=0), normal(6, WIDTH)
    together = noise(hidden)
    for row in range(6):
        assert torch.allclose(together[row], noise(hidden[row : row + 1] * (1 + 1e-7))[0], atol=1e-3)
    other = noise(hidden + 0.1 * normal(6, WIDTH, seed=9))
    assert float((other - together).abs().median()) > 0.3
    assert not torch.allclose(together, ContentNoise(WIDTH, (5,), seed=1)(hidden))


def test_over_the_seeds_the_noise_of_a_prompt_is_gumbels() -> None:
    hidden, of = normal(1, WIDTH), config(layers=10, prefix=5)
    noise = torch.cat([ContentNoise(WIDTH, (5,), seed)(hidden) for seed in range(4000)])
    assert fits(best(noise, [2] * 4000, of), plackett_luce([0.0] * 5, 2))
    assert fits(best(torch.tensor(LOGITS) + noise, [2] * 4000, of), plackett_luce(LOGITS, 2))


def test_over_prompts_the_noise_of_a_seed_is_gumbels() -> None:
    hidden = normal(8000, WIDTH)
    chosen = best(ContentNoise(WIDTH, (5,), 3)(hidden), [2] * 8000, config(layers=10, prefix=5))
    assert fits(chosen, plackett_luce([0.0] * 5, 2))


# On disk


@pytest.mark.parametrize("switch", ["layers", "heads"])
def test_a_scheduler_is_saved_and_loaded(switch: str, tmp_path: Path) -> None:
    made = scheduler(switch, rule="deterministic-topk")
    save(made, tmp_path / "deep" / "folder")
    back = load(str(tmp_path / "deep" / "folder"))
    assert back.config == made.config
    assert not back.training
    assert all(torch.equal(part, back.state_dict()[name]) for name, part in made.state_dict().items())
    assert sorted(file.name for file in (tmp_path / "deep" / "folder").iterdir()) == [
        "scheduler.json", "scheduler.safetensors"
    ]  # fmt: skip
    assert "scheduler.mlp_head.weight" in load_file(tmp_path / "deep" / "folder" / "scheduler.safetensors")


@pytest.mark.parametrize(("kind", "switch"), [("L", "layers"), ("H", "heads")])
@pytest.mark.parametrize("before", ["", "model."])
def test_a_public_checkpoint_is_read(kind: str, switch: str, before: str, tmp_path: Path) -> None:
    """In several files, in half precision, among the weights of a language model."""
    made = scheduler(switch, heads=8, rank=4 if kind == "H" else 1)
    parts = {f"{before}scheduler.{name}": part.bfloat16() for name, part in made.state_dict().items()}
    names = sorted(parts)
    save_file(
        {"model.norm.weight": torch.ones(3), **{name: parts[name] for name in names[:3]}}, tmp_path / "m-1.safetensors"
    )
    save_file({name: parts[name] for name in names[3:]}, tmp_path / "m-2.safetensors")
    public = {
        "model_type": "llava_llama", "scheduler_type": kind, "num_hidden_layers": 6, "num_attention_heads": 8,
        "num_prefix_layers": 3, "hidden_size": WIDTH, "scheduler_rank": 4,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(public))
    back = load(str(tmp_path))
    assert back.config == made.config
    assert back.config.rule == "probabilistic"
    assert torch.equal(back.mlp_head.weight, made.mlp_head.weight.bfloat16().float())


def test_what_cannot_be_loaded_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no config of a scheduler .* config.json: FileNotFoundError"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=r"no config of a scheduler .*scheduler_type"):
        load(str(tmp_path))
    save(scheduler(), tmp_path)
    config_file, weights = tmp_path / "scheduler.json", tmp_path / "scheduler.safetensors"
    whole = config_file.read_text()
    for broken, why in ((whole.replace("prefix", "prefixes"), "prefix"), ("{", "JSON"), ("[]", "dict")):
        config_file.write_text(broken)
        with pytest.raises(UserError, match=rf"from scheduler.json: .*{why}"):
            load(str(tmp_path))
    config_file.write_text(whole.replace('"prefix": 3', '"prefix": 2'))
    with pytest.raises(UserError, match=r"scheduler.mlp_head.weight is \(3, 12\), and its config asks for \(4, 12\)"):
        load(str(tmp_path))
    config_file.write_text(whole)
    save_file({"model.norm.weight": torch.ones(3)}, weights)
    with pytest.raises(UserError, match=r"no .*safetensors of it holds a scheduler"):
        load(str(tmp_path))
    weights.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cannot read scheduler.safetensors"):
        load(str(tmp_path))
