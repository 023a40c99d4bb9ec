"""Chain-structured forms: COGS's sentences become CoFe's forms, and what keeps the grammar is read, nothing else."""

from itertools import chain
from pathlib import Path

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.compositional.chain_form import PREPOSITIONS, Clause, chain_of, convert, primitives, read, write
from adaptbench.tasks.compositional.grammar import PLACES
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent / "data"
EXCERPT = [line.split("\t") for line in (DATA / "cogs_excerpt.tsv").read_text(encoding="utf-8").splitlines()[1:]]
FORMS = (DATA / "cofe_forms.txt").read_text(encoding="utf-8").splitlines()

words = st.sampled_from(["DOG", "EMMA", "TV", "ÉCOLE", "INN", "NONEXISTENT", "MOTHER-IN-LAW"])
places = st.lists(st.tuples(st.sampled_from(PREPOSITIONS), words), max_size=4)
phrases = st.just(()) | st.builds(lambda noun, others: (noun, *chain(*others)), words, places)
clauses = st.builds(Clause, words, phrases, phrases, phrases, st.sampled_from(["CCOMP", "XCOMP"]))
chains = st.tuples(st.builds(Clause, words, phrases, phrases, phrases), st.lists(clauses, max_size=5)).map(
    lambda parts: (parts[0], *parts[1])
)


@pytest.mark.parametrize(("sentence", "logical_form", "form"), EXCERPT)
def test_cogs_becomes_what_cofe_has(sentence, logical_form, form):
    assert convert(logical_form) == form


@pytest.mark.parametrize(
    ("logical_form", "form"),
    [
        ("Paula", "PAULA"),
        ("LAMBDA a . shark ( a )", "SHARK"),
        ("LAMBDA a . LAMBDA b . LAMBDA e . touch . agent ( e , b ) AND touch . theme ( e , a )", "TOUCH"),
        ("* cake ( x _ 1 ) ; grow . theme ( x _ 2 , x _ 1 )", "GROW ( NONE , CAKE , NONE )"),
        ("grow . agent ( x _ 1 , Emma ) AND grow . recipient ( x _ 1 , Liam )", "GROW ( EMMA , NONE , LIAM )"),
    ],
)
def test_bare_words_and_slots(logical_form, form):
    assert convert(logical_form) == form


def test_xcomp_repeats_the_subject_with_its_phrase():
    form = (
        "* girl ( x _ 1 ) ; * car ( x _ 4 ) ; girl . nmod . in ( x _ 1 , x _ 4 ) AND need . agent ( x _ 5 , x _ 1 ) "
        "AND need . xcomp ( x _ 5 , x _ 7 ) AND walk . agent ( x _ 7 , x _ 1 )"
    )
    assert convert(form) == "NEED ( IN ( GIRL , CAR ) , NONE , NONE ) XCOMP WALK ( IN ( GIRL , CAR ) , NONE , NONE )"


@pytest.mark.parametrize(
    ("logical_form", "message"),
    [
        ("", "is not a term of COGS"),
        ("Paula sleeps", "is not a term of COGS"),
        ("dog ( x _ 1 ) AND dog . nmod . under ( x _ 1 , x _ 1 )", "is not a term of COGS"),
        ("sleep . patient ( x _ 1 , Emma )", "is not a term of COGS"),
        ("sleep . agent ( x _ 1 , x _ 2 )", "nothing is said of 'x _ 2'"),
        ("sleep . agent ( x _ 1 , Emma ) AND eat . agent ( x _ 1 , Emma )", "is 'sleep' and 'eat'"),
        ("eat . agent ( x _ 1 , Emma ) AND eat . agent ( x _ 1 , Liam )", "is 'Emma' and 'Liam'"),
        ("sleep . agent ( x _ 1 , Emma ) AND eat . agent ( x _ 2 , Emma )", "2 events could come first"),
        ("say . ccomp ( x _ 1 , x _ 1 )", "0 events could come first"),
        ("say . ccomp ( x _ 1 , x _ 2 )", "nothing is said of 'x _ 2'"),
        (
            "say . ccomp ( x _ 1 , x _ 2 ) AND say . ccomp ( x _ 2 , x _ 3 ) AND say . ccomp ( x _ 3 , x _ 2 )",
            "nothing is said of 'x _ 2'",
        ),
        (
            "say . agent ( x _ 1 , Emma ) AND go . ccomp ( x _ 2 , x _ 3 ) AND do . ccomp ( x _ 3 , x _ 2 )",
            "x _ 2, x _ 3 hang on no chain",
        ),
        (
            "dog ( x _ 1 ) AND dog . nmod . in ( x _ 1 , x _ 1 ) AND nap . agent ( x _ 2 , x _ 1 )",
            "stands inside itself",
        ),
    ],
)
def test_what_is_no_logical_form_is_refused(logical_form, message):
    with pytest.raises(UserError, match=message):
        chain_of(logical_form)


@pytest.mark.parametrize("form", [form for *_, form in EXCERPT if " " in form] + FORMS)
def test_published_forms_are_read_and_written_again(form):
    assert write(read(form)) == form


@given(chains)
def test_what_is_written_is_read_again(form):
    assert read(write(form)) == form


def test_phrases_nest_to_the_right_at_any_depth():
    (clause,) = read("SEE ( ON ( BABY , IN ( TRAY , HOUSE ) ) , NONE , NONE )")
    assert clause == Clause("SEE", ("BABY", "ON", "TRAY", "IN", "HOUSE"))
    depth = 20_000
    deep = "IN ( BOX , " * depth + "BOX" + " )" * depth
    assert len(read(f"SEE ( {deep} , NONE , NONE )")[0].agent) == 2 * depth + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SLEEP",
        "SLEEP ( EMMA , NONE )",
        "SLEEP ( EMMA , NONE , NONE",
        "SLEEP ( EMMA , NONE , NONE ) )",
        "SLEEP ( EMMA , NONE , NONE ) CCOMP",
        "SLEEP ( EMMA , NONE , NONE ) NAP ( EMMA , NONE , NONE )",
        "CCOMP SLEEP ( EMMA , NONE , NONE )",
        "NONE ( EMMA , NONE , NONE )",
        "Sleep ( EMMA , NONE , NONE )",
        "SLEEP (EMMA, NONE, NONE)",
        "SLEEP ( IN ( NONE , BOX ) , NONE , NONE )",
        "SLEEP ( IN ( DOG , NONE ) , NONE , NONE )",
        "SLEEP ( IN ( BOX ) , NONE , NONE )",
        "LIKE ( WILON ( GIRL , BOX ) IAM , NONE , NONE )",
        "LIKE ( WILON ( GIRL , BOX ) , NONE , NONE )",
        "SLEEP ( UNDER ( GIRL , BOX ) , NONE , NONE )",
        "SLEEP ( ON ( GIRL , UNDER ( BOX , BED ) ) , NONE , NONE )",
        "SLEEP ( ON ( IN , BED ) , NONE , NONE )",
        "SLEEP ( BESIDE , NONE , NONE )",
        "ON ( EMMA , NONE , NONE )",
        "SLEEP ( , NONE , NONE )",
        "SLEEP ( EMMA NONE NONE )",
        "SLEEP! ( EMMA , NONE , NONE )",
        "SLEEP ( EMMA. , NONE , NONE )",
        "SLEEP ( 7 , NONE , NONE )",
        "SLEEP ( BOX_1 , NONE , NONE )",
    ],
)
def test_what_does_not_keep_the_grammar_is_refused(text):
    with pytest.raises(UserError, match="was found instead of"):
        read(text)


def test_a_word_that_is_no_preposition_is_named():
    with pytest.raises(UserError, match=r"^word 3 of .*: 'UNDER' was found instead of 'IN' or 'ON' or 'BESIDE'"):
        read("SLEEP ( UNDER ( GIRL , BOX ) , NONE , NONE )")
    assert {preposition.upper() for preposition in PLACES} == set(PREPOSITIONS)


@given(
    st.text(alphabet="AB (),", max_size=40) | st.lists(st.sampled_from("( ) , A IN NONE CCOMP".split())).map(" ".join)
)
def test_any_text_is_read_or_refused(text):
    try:
        form = read(text)
    except UserError:
        return
    assert write(form) == " ".join(text.split())


def test_primitives_are_the_words_with_a_meaning():
    form = "SAY ( EMMA , NONE , NONE ) CCOMP SEE ( ON ( BABY , TRAY ) , NONE , NONE )"
    assert primitives(form) == {"SAY", "EMMA", "SEE", "ON", "BABY", "TRAY"}
    assert primitives("SHARK") == {"SHARK"}
