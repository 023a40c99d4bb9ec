"""The grammar of specs: what is written is read, and what is printed is what was read."""

from __future__ import annotations

import pytest
from adaptbench import UserError
from adaptbench.harness.budgets import checked
from adaptbench.harness.specs import Call, Spec, check_name, did_you_mean, nearest, parse, parse_call
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text("abcXYZ019-_.", min_size=1, max_size=8)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["true", "null", "1", "-0", "1e5", "nan", "-inf", "Infinity", "1.", "a b", '"', "", "a/b:c", "٣"]),
)
CALLS = st.builds(
    Call,
    NAMES,
    st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["a/b", "x(y", "a+b", "a@b", 'a"b', "C:\\x", "a)"])),
    st.dictionaries(KEYS, VALUES, max_size=3).map(lambda args: tuple(args.items())),
)
SPECS = st.builds(
    Spec,
    CALLS,
    st.lists(CALLS, max_size=3).map(tuple),
    st.one_of(st.none(), st.floats(0, 1, exclude_min=True)),
)


@given(SPECS)
def test_what_is_printed_is_read_again(spec):
    again = parse(str(spec))
    assert again == spec
    assert str(again) == str(spec)  # 1, 1.0 and True are equal, but not the same text
    assert again.digest == spec.digest


@given(CALLS)
def test_a_call_that_is_printed_is_read_again(call):
    assert parse_call(str(call)) == call


@given(st.one_of(st.text(), st.text('ab:()+@=,"\\u0041.19-e \n\ud800\x00', max_size=25)))
@pytest.mark.parametrize("read", [parse, parse_call])
def test_any_text_is_a_spec_or_a_user_error(read, text):
    spec, error = None, ""
    try:
        spec = read(text)
    except UserError as caught:
        error = str(caught)
    assert read(str(spec)) == spec if spec else "column" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("pixels", "pixels"),
        ("pixels()", "pixels"),
        (" pixels ( size = 8 ) ", "pixels(size=8)"),
        ("m(b=1,a=2)", "m(a=2,b=1)"),
        ("m(a=007)", "m(a=7)"),
        ("m(a=1e22)", "m(a=1e22)"),
        ("m(a=0.50)", "m(a=0.5)"),
        ('m(a="x")', "m(a=x)"),
        ('m(a="1")', 'm(a="1")'),
        ('m(a="true")', 'm(a="true")'),
        ('m(a="a b")', 'm(a="a b")'),
        ("hf:facebook/dinov2-small(pooling=cls)", "hf:facebook/dinov2-small(pooling=cls)"),
        ('hf:"a path/x"', 'hf:"a path/x"'),
        ('hf:"plain"', "hf:plain"),
        ("a + b + c @ 0.50", "a+b+c@0.5"),
        ("a+b@1", "a+b@1"),
        ("a+b@1.0", "a+b@1"),
        ("a+b@1e-3", "a+b@0.001"),
        ("llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l@0.85", "llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l@0.85"),
    ],
)
def test_canonical_text(text, canonical):
    assert str(parse(text)) == canonical


def test_values_have_the_types_of_json():
    call = parse_call('m(a=1,b=1.5,c=true,d=null,e=word,f="1",g=-2)')
    assert dict(call.args) == {"a": 1, "b": 1.5, "c": True, "d": None, "e": "word", "f": "1", "g": -2}
    assert type(dict(call.args)["a"]) is int


@pytest.mark.parametrize(
    ("text", "column", "expected", "found"),
    [
        ("", 1, "a name", "the end"),
        ("+a", 1, "a name", "'+'"),
        ("a+", 3, "a name", "the end"),
        ("a:", 3, "a value after ':'", "the end"),
        ("a:+b", 3, "a value after ':'", "'+'"),
        ("a(", 3, "the name of an argument", "the end"),
        ("a(1=2)", 3, "the name of an argument", "'1'"),
        ("a(k,l)", 6, "'='", "')'"),
        ("a(k=)", 5, "a value", "')'"),
        ("a(k=1", 6, "',' or ')'", "the end"),
        ("a(k=1;j=2)", 6, "',' or ')'", "';'"),
        ("a(k=1,k=2)", 7, "each argument once, not 'k' again", "'k'"),
        ("a(k=nan)", 5, "a finite number", "'n'"),
        ("a(k=1e999)", 5, "a finite number", "'1'"),
        ("a(k=" + "9" * 5000 + ")", 5, "a finite number", "'9'"),
        ('a(k="x)', 5, "a text in double quotes", "'\"'"),
        ("a b", 3, "'+', '@' or the end", "'b'"),
        ("a@", 3, "a budget in (0, 1]", "the end"),
        ("a@half", 3, "a budget in (0, 1]", "'h'"),
        ("a+m@0", 5, "a budget in (0, 1]", "'0'"),
        ("a+m@1.5", 5, "a budget in (0, 1]", "'1.5'"),
        ("a+m@-0.5", 5, "a budget in (0, 1]", "'-0.5'"),
        ("a+m@1e999", 5, "a budget in (0, 1]", "'1e999'"),
        ("a@0.5@0.6", 6, "the end", "'@'"),
        ("a@0.5+m", 6, "the end", "'+'"),
    ],
)
def test_an_error_names_column_expected_and_found(text, column, expected, found):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert caught.value.what.startswith(f"column {column}: expected {expected}")
    assert caught.value.what.endswith(f"found {found}")
    assert caught.value.where == f"model spec {text!r}"


@pytest.mark.parametrize("text", ["glyphs@0.5", "glyphs+method", "glyphs(ways=5)@0.5"])
def test_a_task_takes_no_method_and_no_budget(text):
    with pytest.raises(UserError, match="a task takes no methods and no budget"):
        parse_call(text)


def test_the_digest_does_not_change_between_versions():
    assert parse("pixels").digest == "2bdf99bc76b0261b84d17ceac748ba579817c78a9f23b0c0dcb66d99f89ddf5d"
    assert (
        parse("llava-1.5-7b + fastv(r=0.5, k=2)@0.850").digest
        == "806be4e9dc3fa5329447a36bdc2c0ec18a641a405e427e0430ff1bca971e0b21"
    )


def test_budgets_come_and_go():
    spec = parse("a+m@0.5")
    assert str(spec.without_budget()) == "a+m"
    assert spec.without_budget().with_budget(0.25) == parse("a+m@0.25")
    with pytest.raises(UserError, match=r"budget 2 is not in \(0, 1\]"):
        spec.with_budget(2)


@pytest.mark.parametrize("budget", [0, -0.1, 1.0000001, float("nan"), float("inf")])
def test_a_budget_outside_of_its_range_is_refused(budget):
    with pytest.raises(UserError, match="is not in"):
        checked(budget, "here")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a(b)", "é", "a/b"])
def test_a_name_that_no_spec_can_say_is_refused(name):
    with pytest.raises(UserError, match="is not a valid name for a model"):
        check_name(name, "model")


def test_nearest_names():
    assert nearest("pixles", ["hog", "pixels", "random"]) == ["pixels"]
    assert nearest("PIXELS", ["pixels"]) == ["pixels"]
    assert nearest("glyphs", ["glyphs-15way-1shot", "digits"]) == ["glyphs-15way-1shot"]
    assert nearest("zzz", ["pixels"]) == []
    assert did_you_mean("zzz", ["pixels"]) == ""
    assert did_you_mean("pixles", ["pixels"]) == " (did you mean 'pixels'?)"


@pytest.mark.parametrize(
    ("text", "means"),
    [("a+b(x/y)", "a+b:x/y"), ('a+b("x y",k=1)', 'a+b:"x y"(k=1)'), ("a+b( 7 )@0.5", "a+b:7@0.5")],
)
def test_a_first_value_without_a_key_is_the_target(text, means):
    assert str(parse(text)) == means
    assert parse(text) == parse(means)
