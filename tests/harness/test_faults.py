import pytest
from adaptbench import UserError
from adaptbench.harness.faults import blamed_on


class Unshowable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("error", "story"),
    [
        (ValueError("bad\n  shape"), "ValueError: bad"),
        (KeyError("x"), "KeyError: 'x'"),
        (AssertionError(), "AssertionError"),
        (SystemExit(0), "SystemExit: 0"),
        (GeneratorExit(), "GeneratorExit"),
        (Unshowable(), "Unshowable: its message cannot be shown"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_a_plugin_raises_becomes_a_line_that_names_it(error, story):
    with pytest.raises(UserError) as caught, blamed_on("model pixels", "pixels on digits"):
        raise error
    assert str(caught.value) == (
        f"pixels on digits: model pixels failed with {story}; "
        "fix it and run the same command again (--debug shows the traceback)"
    )
    assert caught.value.__cause__ is error


def test_an_error_of_the_user_keeps_its_words_and_is_told_where_it_happened():
    with pytest.raises(UserError) as caught, blamed_on("task t", "pixels on t"):
        raise UserError("it is wet", where="sample 3", todo="dry it")
    assert str(caught.value) == "pixels on t, sample 3: it is wet; dry it"
    with pytest.raises(UserError) as caught, blamed_on("task t", "pixels on t"):
        raise UserError("it is wet")
    assert str(caught.value) == "pixels on t: it is wet"


def test_the_user_may_always_stop_it():
    with pytest.raises(KeyboardInterrupt), blamed_on("task t", "pixels on t"):
        raise KeyboardInterrupt
