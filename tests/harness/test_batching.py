import gc
import weakref

import pytest
from adaptbench import UserError
from adaptbench.harness.batching import Batches, out_of_memory
from hypothesis import given
from hypothesis import strategies as st


class Limited:
    """Squares numbers, and runs out of memory for more than ``limit`` of them."""

    def __init__(self, limit, error=MemoryError):
        self.limit, self.error, self.answered, self.refused = limit, error, [], 0

    def __call__(self, items):
        if len(items) > self.limit:
            self.refused += 1
            raise self.error("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.answered.append(tuple(items))
        return [item**2 for item in items]


def flat(batches):
    return [answer for batch in batches for answer in batch]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 150))
def test_answers_do_not_depend_on_the_memory_and_each_item_is_answered_once(size, limit, count):
    model = Limited(limit)
    assert flat(Batches(size, "m")(model, range(count))) == [n**2 for n in range(count)]
    assert flat(model.answered) == list(range(count))
    assert all(len(batch) <= min(size, limit) for batch in model.answered)


@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(0, 60), min_size=1, max_size=5), st.data())
def test_items_are_cut_as_they_would_be_in_a_resumed_run(size, limit, counts, data):
    """Whatever was asked before: a resumed run has not seen it."""
    whole, batches = Limited(limit), Batches(size, "m")
    cuts = []
    for count in counts:
        before = len(whole.answered)
        batches(whole, range(count))
        cuts.append(whole.answered[before:])
    start = data.draw(st.integers(0, len(counts) - 1))
    resumed, fresh = Limited(limit), Batches(size, "m")
    for count in counts[start:]:
        fresh(resumed, range(count))
    assert resumed.answered == [batch for cut in cuts[start:] for batch in cut]


def test_what_was_too_large_once_is_not_tried_again():
    model, batches = Limited(3), Batches(16, "m")
    batches(model, range(64))
    assert model.refused == 3  # of 16, of 8, and of 4
    batches(model, range(64))
    assert model.refused == 3
    assert batches.fitting == 2
    assert Batches(16, "m").fitting == 16


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 100])
def test_the_fitting_size_fits_and_is_not_far_below_the_limit(size):
    for limit in range(1, size + 1):
        model, batches = Limited(limit), Batches(size, "m")
        batches(model, range(size))
        assert limit / 2 < batches.fitting <= limit


def test_each_back_off_is_told(caplog):
    Batches(4, "vit")(Limited(1), range(4))
    assert [record.getMessage() for record in caplog.records] == [
        "vit: out of memory with 4 inputs; going on with fewer",
        "vit: out of memory with 2 inputs; going on with fewer",
    ]


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_a_single_input_that_does_not_fit_is_an_error_of_the_user(error):
    with pytest.raises(UserError, match=r"^vit: a single input does not fit into memory"):
        Batches(4, "vit")(Limited(0, error), range(9))


def test_other_errors_pass_as_they_are():
    def broken(_items):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match=r"^shapes do not match$"):
        Batches(4, "vit")(broken, range(9))


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("index out of range"), False),
        (ValueError("unrelated"), False),
    ],
)
def test_an_error_about_memory_is_known_by_its_type_or_text(error, is_memory):
    assert out_of_memory(error) is is_memory


def test_what_the_failed_call_held_is_let_go_before_the_next_try():
    class Big:
        pass

    held = []
    alive = []

    def model(items):
        alive.append(sum(reference() is not None for reference in held))
        big = Big()
        held.append(weakref.ref(big))
        if len(items) > 1:
            raise MemoryError
        return list(items)

    gc.disable()
    try:
        Batches(4, "m")(model, range(4))
    finally:
        gc.enable()
    assert not any(alive)
