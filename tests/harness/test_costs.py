import numpy as np
import pytest
import torch
from adaptbench import Input, Record, Sample
from adaptbench.harness.costs import Costs, Counted, answered_flops, uncounted
from adaptbench.harness.errors import BadSample
from adaptbench.harness.measure import flops, memory, timing
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.results import Timing


def inputs(count, size=4):
    return [Input(f"{size}-{n}", lambda n=n: np.full(size, n, dtype=np.float32)) for n in range(count)]


class Net:
    def __init__(self, module=None):
        self.module = module or torch.nn.Linear(4, 3)
        self.asked = []

    def prepare(self, loaded):
        self.asked.append(len(loaded))
        return {"input": torch.from_numpy(np.stack(loaded))}

    def embed(self, images):
        return self.module(**self.prepare(images)).detach().numpy()


class Plain:
    def __init__(self):
        self.asked = []

    def embed(self, images):
        self.asked.append(len(images))
        sum(range(20_000))
        return np.zeros((len(images), 2))


def test_flops_and_parameters_are_those_of_one_input():
    counted = Costs(Net).count(inputs(5))
    assert (counted.flops.value, counted.missing, counted.parameters) == (24, "", 15)


def test_inputs_of_equal_shapes_are_counted_once_for_all_tasks(monkeypatch):
    calls = []
    real = flops.count_flops
    monkeypatch.setattr(flops, "count_flops", lambda *a, **k: calls.append(1) or real(*a, **k))
    net = Net(torch.nn.Sequential(torch.nn.AdaptiveAvgPool1d(4), torch.nn.Linear(4, 3)))
    net.prepare = lambda loaded: {"input": torch.from_numpy(np.stack(loaded))[:, None]}
    costs = Costs(lambda: net)
    first = costs.count(inputs(5))
    assert costs.count(inputs(3)[1:]) == first
    assert len(calls) == 1
    costs.count(inputs(2, size=8))
    assert len(calls) == 2


def test_what_is_no_torch_module_is_not_counted_and_says_so():
    assert Costs(Plain).count(inputs(1)) == Counted(None, "not counted: the model is not a torch module", None)


def test_an_operator_without_a_counter_leaves_the_flops_out_unless_it_is_waived():
    class Fourier(torch.nn.Module):
        def forward(self, input):
            return torch.fft.fft(input).abs()

    counted = Costs(lambda: Net(Fourier())).count(inputs(1))
    assert counted.flops is None
    assert "no counter covers the operator aten::fft_fft" in counted.missing
    assert "--waive-op aten::fft_fft" in counted.missing
    waived = Costs(lambda: Net(Fourier()), ["aten::fft_fft"]).count(inputs(1))
    assert waived.flops.waived == ("aten::fft_fft",)


def test_a_module_that_cannot_be_traced_leaves_the_flops_out_with_the_same_words_in_each_session():
    class Odd(torch.nn.Module):
        def forward(self, input):
            raise ValueError(f"no trace of {object()}\nat all")

    counted = Costs(lambda: Net(Odd())).count(inputs(1))
    assert counted.flops is None
    assert "ValueError: no trace of <object object>" in counted.missing
    assert "\n" not in counted.missing


def test_the_forward_pass_of_a_module_is_timed_and_its_memory_measured(quick):
    net = Net(torch.nn.Sequential(torch.nn.Linear(4, 300), torch.nn.Linear(300, 300)))
    measured = Costs(lambda: net).time(inputs(7))
    assert (measured.what, measured.inputs, measured.device) == ("forward of 7 images", 7, "cpu")
    assert measured.peak_memory >= 7 * 300 * 4
    assert net.asked == [7], "preparing is not part of the forward pass"


def test_a_module_is_timed_by_the_clock_of_the_device_that_it_is_on(quick, monkeypatch):
    devices = []
    real = timing.measure
    monkeypatch.setattr(timing, "measure", lambda *a, device, **k: devices.append(device) or real(*a, **k))
    monkeypatch.setattr(memory, "peak_memory", lambda _call, device: devices.append(device) or 0)
    Costs(lambda: Net(torch.nn.Linear(4, 3))).time(inputs(2))
    Costs(lambda: Net(torch.nn.ReLU())).time(inputs(2))
    assert devices == ["cpu"] * 4


def test_any_other_model_is_timed_whole(quick):
    model = Plain()
    measured = Costs(lambda: model).time(inputs(5))
    assert (measured.what, measured.inputs, measured.peak_memory) == ("embed() of 5 images", 5, None)
    assert set(model.asked) == {5}


class TestOwnPasses:
    """What the cell's own passes tell is not measured again."""

    @pytest.fixture
    def passes(self):
        made = timing.Passes()
        made.module[2], made.whole[2] = [9.0, 1.0, 2.0, 3.0], [9.0, 4.0, 5.0, 6.0]
        return made

    def test_are_what_is_told_of_a_module(self, passes):
        costs = Costs(lambda: Net(torch.nn.Linear(4, 3)))
        part, whole = costs.times(inputs(2), passes=passes)
        assert (part.what, part.median, part.own, part.warmup, part.repeats) == ("forward of 2 images", 2.0, True, 1, 3)
        assert (whole.what, whole.median, whole.own, part.shared) == ("embed() of 2 images", 5.0, True, False)
        assert part.peak_memory is not None

    def test_are_what_is_told_of_any_other_model(self, passes):
        model = Plain()
        part, whole = Costs(lambda: model).times(inputs(2), passes=passes)
        assert (part.median, part.own, whole, model.asked) == (5.0, True, None, [])

    def test_are_not_of_batches_of_another_size(self, passes, quick):
        part, _ = Costs(Plain).times(inputs(3), passes=passes)
        assert (part.own, part.what) == (False, "embed() of 3 images")

    def test_must_be_as_many_as_are_measured(self, passes, quick):
        passes.whole[2].pop()
        assert not Costs(Plain).times(inputs(2), passes=passes)[0].own

    def test_are_not_those_of_an_accelerator_whose_clock_is_its_own(self, passes, quick, monkeypatch):
        monkeypatch.setattr("adaptbench.harness.costs._device", lambda _: "cuda:0")
        monkeypatch.setattr(timing, "measure", lambda *_, **__: None)
        assert Costs(Net).times(inputs(2), passes=passes) == (None, None)

    def test_are_noted_by_size_with_the_modules_part_of_them(self):
        net, made = Net(torch.nn.Linear(4, 3)), timing.Passes()
        loaded = [item.load() for item in inputs(5)]
        for count in (2, 2, 1):
            assert len(made.time(lambda count=count: net.embed(loaded[:count]), count, net.module)) == count
        assert {size: len(taken) for size, taken in made.whole.items()} == {2: 2, 1: 1}
        assert all(0 < part < whole for part, whole in zip(made.module[2], made.whole[2], strict=True))
        assert not net.module._forward_hooks
        assert not net.module._forward_pre_hooks

    def test_of_a_module_that_ran_twice_tell_nothing_of_it(self):
        net, made = Net(torch.nn.Linear(4, 3)), timing.Passes()
        loaded = [item.load() for item in inputs(2)]
        made.time(lambda: [net.embed(loaded), net.embed(loaded)], 2, net.module)
        assert (made.module, len(made.whole[2])) == ({}, 1)

    def test_that_fail_leave_no_hook(self):
        net, made = Net(torch.nn.Linear(4, 3)), timing.Passes()
        with pytest.raises(ZeroDivisionError):
            made.time(lambda: 1 / 0, 1, net.module)
        assert (made.whole, dict(net.module._forward_hooks)) == ({}, {})


class TestShared:
    """What was measured for one cell is not measured again for another."""

    @pytest.fixture
    def measured(self, monkeypatch, quick):
        asked = []
        real = timing.measure
        monkeypatch.setattr(timing, "measure", lambda *a, what, **k: asked.append(what) or real(*a, what=what, **k))
        return asked

    def test_among_inputs_of_the_same_shape_of_a_module(self, measured):
        net = Net(torch.nn.Sequential(torch.nn.AdaptiveAvgPool1d(4), torch.nn.Linear(4, 300)))
        net.prepare = lambda loaded: {"input": torch.from_numpy(np.stack(loaded))[:, None]}
        costs = Costs(lambda: net)
        first, again = costs.times(inputs(3)), costs.times(inputs(4)[1:])
        assert [one.shared for one in first] == [False, False]
        assert again == tuple(one.model_copy(update={"shared": True}) for one in first)
        assert len(measured) == 2
        costs.times(inputs(3, size=8))
        costs.times(inputs(4, size=8))
        assert len(measured) == 6

    def test_among_the_same_inputs_of_any_other_model(self, measured):
        costs = Costs(Plain)
        assert [costs.times(inputs(3))[0].shared for _ in range(2)] == [False, True]
        assert not costs.times(inputs(4)[1:])[0].shared
        assert len(measured) == 2


@pytest.mark.parametrize(("answering", "most"), [(100.0, 2.0), (0.0, 0.1)])
def test_measuring_takes_a_small_share_of_the_time_that_the_answers_took(monkeypatch, answering, most):
    asked = []
    monkeypatch.setattr(timing, "measure", lambda *_, effort, **__: asked.append(effort.most))
    monkeypatch.setattr(memory, "peak_memory", lambda *_: 0)
    monkeypatch.setattr(
        timing, "Effort", type("Effort", (), {"__init__": lambda self, most: setattr(self, "most", most)})
    )
    Costs(Plain).time(inputs(1), "embed", answering)
    Costs(lambda: Net(torch.nn.ReLU())).end_to_end(inputs(1), "embed", answering)
    assert asked == [most, most]


def test_what_the_clock_cannot_tell_is_not_reported(monkeypatch):
    def too_short(*_args, **_options):
        raise timing.TooShort

    monkeypatch.setattr(timing, "measure", too_short)
    assert Costs(Plain).time(inputs(1)) is None


def test_nothing_is_built_before_it_is_asked_for():
    Costs(lambda: pytest.fail("built"))


def test_the_prompts_that_a_model_cannot_read_are_not_timed(quick):
    class Picky:
        convention = None

        def answer(self, prompts):
            raise NotImplementedError

        def prefill(self, prompts):
            if 2 in prompts:
                raise BadSample("it is too narrow")
            return lambda: sum(range(50_000))

    costs = Costs(Picky)
    asked = [Input(str(n), lambda n=n: n) for n in range(4)]
    timing = costs.time(asked, "generate")
    assert (timing.what, timing.inputs) == ("prefill of 3 prompts", 3)
    assert costs.time(asked[2:3], "generate") is None
    assert costs.time([], "generate") is None


@pytest.mark.parametrize(("devices", "stages"), [(["cpu"], ["tower", "prefill", "token"]), (["cpu", "cuda:0"], [])])
def test_a_prefill_that_marks_its_stages_is_timed_by_them_on_one_device(quick, monkeypatch, devices, stages):
    class Marks:
        convention = None
        module = torch.nn.Linear(1, 1)

        def answer(self, prompts):
            raise NotImplementedError

        def prefill(self, prompts):
            return lambda: sum(range(50_000))

        def stages(self, prompts):
            return lambda mark: [(sum(range(9_000)), mark(stage)) for stage in ("tower", "prefill", "token")]

    monkeypatch.setattr("adaptbench.harness.costs._devices", lambda _: set(devices))
    monkeypatch.setattr("adaptbench.harness.costs._device", lambda _: "cpu")
    found = Costs(Marks).time(inputs(2), "generate")
    assert (found.what, list(found.stages)) == ("prefill of 2 prompts", stages)
    assert all(spent.q1 <= spent.median <= spent.q3 for spent in found.stages.values())
    assert Timing.model_validate_json(found.model_dump_json()) == found
    earlier = found.model_dump(exclude={"stages"})  # as it was stored before there were any
    assert Timing(**earlier) == found.model_copy(update={"stages": {}})


def test_a_timed_prefill_reads_only_the_first_prompts_of_a_large_batch(quick):
    read = []

    class Reader:
        convention = None

        def answer(self, prompts):
            raise NotImplementedError

        def prefill(self, prompts):
            read.append(len(prompts))
            return lambda: sum(range(50_000))

    timing = Costs(Reader).time([Input(str(n), lambda n=n: n) for n in range(32)], "generate")
    assert (timing.what, timing.inputs, read) == ("prefill of 8 prompts", 8, [8])


def test_flops_that_come_with_answers_are_those_of_all_of_them():
    convention = {"phase": "prefill", "counter": "fvcore", "attention": "sdpa"}
    samples = [Sample("a", [0]), Sample("b", [1, 2]), Sample("c", [3])]

    def flops(*costs, convention=convention):
        records = [
            Record(s.id, "", "", costs=tuple(PrefillCost(flops=one) for one in answers), fault="" if answers else "bad")
            for s, answers in zip(samples, costs, strict=True)
        ]
        return answered_flops(convention, samples, records)

    assert flops([10], [15, 25], [30]).value == 20
    assert flops([10], [15, 25], []).value == 17
    assert flops([10], [None, 25], [30]) is None
    assert flops([10], [25], [30]) is None
    assert flops([], [], []) is None
    assert flops([10], [15, 25], [30], convention=None) is None


def test_a_model_may_know_why_its_answers_are_not_counted():
    class Silent:
        uncounted = ""

    class Telling:
        uncounted = "not counted: fvcore counts 2 FLOPs and torch 3"

    told = Counted(None, "not counted: no answer came with its FLOPs", 7, {"phase": "prefill"})
    assert uncounted(told, Telling) == Telling.uncounted
    assert uncounted(told, Silent) == uncounted(told, object) == told.missing
    assert uncounted(told._replace(convention=None), Telling) == told.missing
