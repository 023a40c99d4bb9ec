"""T1 and T2: every row obeys its rules, by a translator that shares nothing with the generator but the verbs' forms."""

import hashlib
import re
from collections import Counter
from typing import Any

import adaptbench
import pytest
from adaptbench.harness.conformance import check
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import Plugins
from adaptbench.models.reference.rule_follower import RuleFollower
from adaptbench.tasks.compositional import grammar
from adaptbench.tasks.compositional.chain_form import read
from adaptbench.tasks.compositional.linguistic import SETTINGS, T1, T2, linguistic_t1, linguistic_t2
from adaptbench.tasks.compositional.translating import Row, Translating

QUERIES = 60
VERBS = {verb for kind in grammar.TEMPLATES for verb in grammar.verbs(kind)}
PAST = {verb.past: verb.lemma for verb in VERBS}
PARTICIPLE = {verb.participle: verb.lemma for verb in VERBS}
HAPPENS = {verb.past for verb in grammar.verbs("causative")}
"""What happens to its subject, where nobody does it."""
FIRST, SECOND, COMPOSITE, GOLD = SETTINGS


def noun_phrase(words):
    """The form of the noun phrase that the words begin with, and the words after it."""
    noun, *rest = words[1:] if words[0] in ("a", "the") else words
    if rest and rest[0] in ("in", "on", "beside"):
        inner, left = noun_phrase(rest[1:])
        return f"{rest[0].upper()} ( {noun.upper()} , {inner} )", left
    return noun.upper(), rest


def clause(verb, agent="NONE", theme="NONE", recipient="NONE"):
    return f"{verb.upper()} ( {agent} , {theme} , {recipient} )"


def translate(sentence):
    """English to its form, by reading it from left to right."""
    *words, stop = sentence.split()
    assert stop == "."
    if words[0] in ("A", "The"):
        words[0] = words[0].lower()
    return translate_clause(words)


def translate_clause(words):
    subject, (verb, *rest) = noun_phrase(words)
    if verb == "was":
        return translate_passive(subject, rest)
    lemma = PAST[verb]
    if not rest:
        return clause(lemma, theme=subject) if verb in HAPPENS else clause(lemma, subject)
    if rest[0] == "that":
        return f"{clause(lemma, subject)} CCOMP {translate_clause(rest[1:])}"
    if rest[0] == "to":
        (infinitive,) = rest[1:]
        return f"{clause(lemma, subject)} XCOMP {clause(infinitive, subject)}"
    first, rest = noun_phrase(rest)
    if not rest:
        return clause(lemma, subject, first)
    if rest[0] == "to":
        recipient, rest = noun_phrase(rest[1:])
        assert not rest
        return clause(lemma, subject, first, recipient)
    theme, rest = noun_phrase(rest)
    assert not rest
    return clause(lemma, subject, theme, first)


def translate_passive(subject, words):
    lemma, rest = PARTICIPLE[words[0]], words[1:]
    slots = {"theme": subject}
    if rest and rest[0] not in ("to", "by"):
        slots["recipient"] = subject
        slots["theme"], rest = noun_phrase(rest)
    for sign, role in (("to", "recipient"), ("by", "agent")):
        if rest and rest[0] == sign:
            slots[role], rest = noun_phrase(rest[1:])
    assert not rest
    return clause(lemma, **slots)


def blocks(prompt):
    """The demonstrations of a prompt, and the sentence that is asked."""
    *shown, asked = prompt.split("\n\n")
    pairs = [re.fullmatch(r"input: (.+)\noutput: (.+)", block).groups() for block in shown]
    return pairs, re.fullmatch(r"input: (.+)\noutput:", asked)[1]


def meanings(form):
    return set(re.findall(r"\w+", form)) - {"NONE", "CCOMP", "XCOMP"}


def has_phrased_subject(form):
    return any(re.match(r"\w+ \( \w+ \(", part) for part in re.split(r" [CX]COMP ", form))


@pytest.fixture(scope="module")
def tasks():
    makers = {"t1": linguistic_t1, "t2": linguistic_t2}
    return {(name, s): make(s, queries=QUERIES) for name, make in makers.items() for s in SETTINGS}


@pytest.fixture(scope="module")
def rows(tasks):
    """(task, setting) -> [(demonstrations, sentence, form)]"""
    return {
        key: [
            (*blocks(given.load().text), *sample.target["answers"])
            for given, sample in zip(task.inputs, task.samples, strict=True)
        ]
        for key, task in tasks.items()
    }


def test_the_translator_knows_what_the_rules_say():
    for sentence, form in [
        ("The cake was rolled .", "ROLL ( NONE , CAKE , NONE )"),
        ("A cake rolled .", "ROLL ( NONE , CAKE , NONE )"),
        ("Emma rolled the cake in a box .", "ROLL ( EMMA , IN ( CAKE , BOX ) , NONE )"),
        ("Emma lent the cake to the queen .", "LEND ( EMMA , CAKE , QUEEN )"),
        ("Emma lent the queen the cake .", "LEND ( EMMA , CAKE , QUEEN )"),
        ("The queen was lent a cake by Emma .", "LEND ( EMMA , CAKE , QUEEN )"),
        ("A girl needed to cook .", "NEED ( GIRL , NONE , NONE ) XCOMP COOK ( GIRL , NONE , NONE )"),
    ]:
        assert translate(sentence) == form


def test_every_demonstration_and_question_has_its_form(rows):
    for pairs, sentence, form in (row for part in rows.values() for row in part):
        for said, shown in [*pairs, (sentence, form)]:
            assert translate(said) == shown


def test_every_word_of_a_question_is_shown_and_no_question_itself(rows):
    for pairs, _, form in (row for part in rows.values() for row in part):
        assert len({shown for _, shown in pairs}) == 10
        assert meanings(form) <= set().union(*(meanings(shown) for _, shown in pairs))
        assert form not in {shown for _, shown in pairs}


def test_demonstrations_are_of_all_kinds(rows):
    text = "\n".join(said for pairs, *_ in rows["t1", FIRST] for said, _ in pairs)
    assert set(re.findall(r"\w+", text)) >= {"that", "to", "by", "was", "in", "on", "beside"}
    assert len(set(re.findall(r"\w+", text)) & PAST.keys()) > 100


class TestT1:
    def test_only_the_gold_standard_shows_long_chains_or_phrases_as_subjects(self, rows):
        for setting in (FIRST, SECOND, COMPOSITE):
            for pairs, *_ in rows["t1", setting]:
                for said, form in pairs:
                    assert form.count("CCOMP") <= 2
                    assert not has_phrased_subject(form)
                    assert not re.match(r"(A |The )?\w+ (in|on|beside) ", said)
        for pairs, *_ in rows["t1", GOLD]:
            for _, form in pairs:
                assert 3 <= form.count("CCOMP") <= 12
                assert has_phrased_subject(form.partition(" CCOMP ")[0])

    def test_questions_have_what_their_setting_says(self, rows):
        for _, _, form in rows["t1", FIRST]:
            assert "COMP" not in form
            assert has_phrased_subject(form)
        for _, _, form in rows["t1", SECOND]:
            assert 3 <= form.count("CCOMP") <= 12
            assert not has_phrased_subject(form)
        clauses = Counter(form.count("CCOMP") for _, _, form in rows["t1", SECOND])
        assert {3, 12} <= clauses.keys()

    def test_the_composite_is_the_chain_with_the_phrase_as_its_first_subject(self, rows):
        for (_, _, short), (_, _, chain), (_, _, both) in zip(
            rows["t1", FIRST], rows["t1", SECOND], rows["t1", COMPOSITE], strict=True
        ):
            subject = re.match(r"\w+ \( (\w+) , ", chain)[1]
            phrase = short.removeprefix(short.split()[0] + " ( ")
            while chain.replace(f"( {subject} ,", f"( {phrase} ,", 1) != both:
                phrase = phrase.rpartition(" ")[0]
                assert phrase

    def test_lengths_can_be_chosen(self):
        forms = [row.form for row in linguistic_t1(SECOND, queries=20, longest=4).rows]
        assert {form.count("CCOMP") for form in forms} == {3}
        with pytest.raises(UserError, match="longest=3 is not a whole number of at least 4"):
            linguistic_t1(longest=3)

    def test_too_few_demonstrations_for_the_words_are_refused(self):
        with pytest.raises(UserError, match="2 demonstrations cannot show the"):
            _ = [row.prompt for row in linguistic_t1(queries=20, k=2).rows]


class TestT2:
    def exposures(self, pairs, form):
        """How the verb and the subject of a question stand in its demonstrations."""
        verb, subject = re.match(r"(\w+) \( (\w+) ,", form).groups()
        said_verb = [shown for _, shown in pairs if verb in shown.split()]
        said_subject = [(said, shown) for said, shown in pairs if subject in shown.split()]
        return verb, subject, said_verb, said_subject

    def test_questions_are_active_sentences_with_an_object(self, rows):
        for setting in SETTINGS:
            for _, sentence, form in rows["t2", setting]:
                assert "was" not in sentence.split()
                assert re.fullmatch(r"\w+ \( \w+ , (?!NONE).+ , NONE \)", form)

    @pytest.mark.parametrize("setting", [FIRST, COMPOSITE])
    def test_the_verb_is_shown_in_the_passive_only(self, rows, setting):
        for pairs, _, form in rows["t2", setting]:
            verb, _, said_verb, _ = self.exposures(pairs, form)
            assert len(said_verb) == 1
            assert re.search(rf"\b{verb} \( NONE , ", said_verb[0])

    @pytest.mark.parametrize("setting", [SECOND, COMPOSITE])
    def test_the_noun_is_shown_as_object_only(self, rows, setting):
        for pairs, _, form in rows["t2", setting]:
            _, subject, _, said_subject = self.exposures(pairs, form)
            ((said, shown),) = said_subject
            assert [clause.theme[0] for clause in read(shown) if subject in clause.theme] == [subject]
            words = said.split()
            place = words.index(subject.lower())
            assert (PAST.keys() | PARTICIPLE.keys()) & set(words[:place])
            assert words[place - 2] != "that"  # where a passive subject would stand

    def test_simple_tasks_show_the_other_half_as_it_is_asked(self, rows):
        for pairs, _, form in rows["t2", FIRST]:
            _, subject, _, said_subject = self.exposures(pairs, form)
            assert any(re.search(rf"\b\w+ \( {subject} ,", shown) for _, shown in said_subject)
        for pairs, _, form in rows["t2", SECOND]:
            verb, _, said_verb, _ = self.exposures(pairs, form)
            assert any(re.search(rf"\b{verb} \( \w+ , (?!NONE)", shown) for shown in said_verb)

    def test_the_gold_standard_shows_the_verb_active_with_the_noun_as_subject(self, rows):
        for pairs, _, form in rows["t2", GOLD]:
            verb, subject, *_ = self.exposures(pairs, form)
            assert all(shown.startswith(f"{verb} ( {subject} , ") for _, shown in pairs)

    def test_the_composite_joins_the_simple_questions(self, rows):
        for (_, _, first), (_, _, second), (_, _, both) in zip(
            rows["t2", FIRST], rows["t2", SECOND], rows["t2", COMPOSITE], strict=True
        ):
            subject = second.split()[2]
            assert both == re.sub(r"^(\w+) \( \w+", rf"\1 ( {subject}", first)
            assert first.split()[0] != second.split()[0]


def test_both_settings_of_the_composite_ask_the_same_questions(rows):
    for name in ("t1", "t2"):
        assert [row[1:] for row in rows[name, COMPOSITE]] == [row[1:] for row in rows[name, GOLD]]


@pytest.mark.parametrize("make", [linguistic_t1, linguistic_t2])
def test_simple_demonstrations_may_stand_beside_composite_ones(make):
    pairs, _ = blocks(make(GOLD, queries=1, with_simple=True).rows[0].prompt)
    assert len(pairs) == 20


def test_all_settings_are_one_task_grouped_by_draw():
    task = linguistic_t2("all", queries=3)
    assert [sample.subsets["setting"] for sample in task.samples] == [s for s in SETTINGS for _ in range(3)]
    assert len({sample.group for sample in task.samples}) == 3
    assert len({sample.id for sample in task.samples}) == 12


@pytest.mark.parametrize(
    ("make", "digest"),
    [(linguistic_t1, "ffc0c6c754018715"), (linguistic_t2, "b5afee8d41878471")],
)
def test_the_same_seed_gives_the_same_prompts_everywhere(make, digest):
    text = "\n\n\n".join(f"{row.prompt} {row.form}" for row in make("all", queries=5, seed=3).rows)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_seeds_and_questions_differ():
    one, other = (linguistic_t2(queries=30, seed=seed) for seed in (0, 1))
    assert not {given.digest for given in one.inputs} & {given.digest for given in other.inputs}
    assert len({row.form for row in one.rows}) > 25
    assert [row.prompt for row in linguistic_t2(queries=10).rows] == [row.prompt for row in one.rows[:10]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"setting": "compsite"}, "no setting 'compsite'.*composite"),
        ({"queries": 0}, "queries=0 is not a whole number of at least 1"),
        ({"k": 0}, "k=0 is not"),
        ({"k": True}, "k=True is not"),
        ({"seed": -1}, "seed=-1 is not"),
    ],
)
@pytest.mark.parametrize("make", [linguistic_t1, linguistic_t2])
def test_what_cannot_be_asked_is_refused(make, arguments, message):
    with pytest.raises(UserError, match=message):
        make(**arguments)


def test_prompts_stop_at_a_line_break_and_leave_room_for_the_longest_answer(tasks):
    for task in tasks.values():
        limits = {given.load().max_new_tokens for given in task.inputs}
        assert limits == {4 * max(len(row.form.split()) for row in task.rows)}
        assert {given.load().stop for given in task.inputs} == {("\n",)}


TRUTH = "LIKE ( ON ( BABY , TRAY ) , NONE , NONE ) CCOMP NAP ( EMMA , NONE , NONE )"
SENTENCE = "The baby on a tray liked that Emma napped ."


def scores(said, subject="first"):
    task = Translating([Row("0", SENTENCE, TRUTH, "input: ?\noutput:")], T1, subject=subject)
    (sample,) = task.samples
    return task.score(sample, task.parse(sample, said))


def given_scores(said, **options):
    """Names of what is 1."""
    return {name for name, value in scores(said, **options).items() if value == 1}


@pytest.mark.parametrize(
    ("said", "ones"),
    [
        (f" {TRUTH}\ninput: more", {"exact match", "word match", "well formed"}),
        (TRUTH.replace("NAP", "SLEEP"), {"well formed", "first only"}),
        (TRUTH.replace("ON ( BABY , TRAY )", "BABY"), {"well formed", "second only"}),
        (TRUTH.replace("ON ( BABY , TRAY )", "BABY").replace("NAP", "EAT"), {"well formed", "other"}),
        (SENTENCE.upper(), {"copied"}),
        (f"{TRUTH} (", {"word match", "other"}),
        ("", {"word error rate", "other"}),
        ("\n" + TRUTH, {"word error rate", "other"}),
    ],
)
def test_a_wrong_answer_shows_what_was_done(said, ones):
    assert given_scores(said) == ones


def test_the_halves_of_t2_are_the_other_way_round():
    assert "second only" in given_scores(TRUTH.replace("NAP", "SLEEP"), subject="second")
    assert "first only" in given_scores(TRUTH.replace("ON ( BABY , TRAY )", "BABY"), subject="second")


def test_mistakes_and_right_answers_sum_to_one(tasks):
    for said in (TRUTH, SENTENCE, "", "NAP ( EMMA , NONE , NONE )", TRUTH + " CCOMP " + TRUTH):
        told = scores(said)
        assert sum(told[name] for name in ("exact match", "first only", "second only", "copied", "other")) == 1
        assert told.keys() == {metric.name for metric in T1.metrics}


@pytest.mark.parametrize(
    ("mode", "setting", "metric"),
    [
        ("both", FIRST, "exact match"),
        ("both", SECOND, "exact match"),
        ("both", COMPOSITE, "exact match"),
        ("reverse", GOLD, "exact match"),
        ("first", FIRST, "exact match"),
        ("first", SECOND, "first only"),
        ("first", COMPOSITE, "first only"),
        ("second", FIRST, "second only"),
        ("second", SECOND, "exact match"),
        ("second", GOLD, "second only"),
        ("copy", COMPOSITE, "copied"),
    ],
)
def test_baselines_are_what_they_say(tasks, mode, setting, metric):
    for name in ("t1", "t2"):
        task = tasks[name, setting]
        said = RuleFollower(mode).replay(task, task.samples)
        metrics = [task.score(sample, task.parse(sample, said[sample.id])) for sample in task.samples]
        assert all(row[metric] == 1 for row in metrics), (name, metrics[0])


def test_what_is_no_text_is_not_scored():
    assert scores(None) is None
    assert scores(["A"]) is None


def test_the_error_rate_ranks_and_is_better_when_lower():
    for card in (T1, T2):
        assert (card.metrics[0].name, card.metrics[0].better) == ("word error rate", "lower")
        assert "separable" in card.summary


def test_they_keep_the_contract_of_tasks():
    class Linguistic:
        @staticmethod
        @adaptbench.hookimpl
        def register(registry: Any) -> None:
            registry.task("linguistic-t1", linguistic_t1, card=T1, args={"queries": 4})
            registry.task("linguistic-t2", linguistic_t2, card=T2, args={"queries": 4})

    plugins = Plugins()
    plugins.add("mine", "here", Linguistic)
    assert [finding for finding in check(plugins, "mine") if not finding.ok] == []


def test_no_word_of_the_lexicon_has_two_meanings():
    nouns = [*grammar.NAMES, *grammar.PEOPLE, *grammar.THINGS, *(n for some in grammar.PLACES.values() for n in some)]
    lemmas = [verb.lemma for kind in grammar.TEMPLATES for verb in grammar.verbs(kind)]
    words = [word.upper() for word in (*nouns, *lemmas, *grammar.PLACES)]
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert not [noun for noun in nouns if noun[0] in "aeiou"]  # the only articles are a and the
    assert len(PAST) == len(VERBS) == len(PARTICIPLE)
