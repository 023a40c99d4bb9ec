"""COGS and CoFe as files: demonstrations that show every word, fixed releases, and what is no such file."""

import json
from pathlib import Path

import pytest
from adaptbench.harness.errors import BadSample, UserError
from adaptbench.tasks.compositional.chain_form import primitives
from adaptbench.tasks.compositional.cogs import cofe_task, cogs_task, read_cofe, read_cogs

EXCERPT = Path(__file__).parent / "data" / "cogs_excerpt.tsv"
TRUTH = "VALUE ( ON ( BABY , TRAY ) , NONE , NONE ) CCOMP GROW ( NONE , CAKE , NONE )"
SHOWN = [
    ("The baby grew .", "GROW ( NONE , BABY , NONE )"),
    ("Emma valued a cake on a tray .", "VALUE ( EMMA , ON ( CAKE , TRAY ) , NONE )"),
]
ASKED = "The baby on a tray valued that a cake grew ."


@pytest.fixture
def cogs(tmp_path):
    """A file in COGS's format, of the excerpt's sentences."""
    path = tmp_path / "train.tsv"
    rows = [line.split("\t")[:2] for line in EXCERPT.read_text(encoding="utf-8").splitlines()[1:]]
    kinds = ["primitive" if " " not in sentence else "in_distribution" for sentence, _ in rows]
    path.write_text("".join(f"{s}\t{f}\t{kind}\n" for (s, f), kind in zip(rows, kinds, strict=True)), encoding="utf-8")
    return str(path)


@pytest.fixture
def questions(tmp_path):
    def write(*rows):
        path = tmp_path / "gen.tsv"
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def cofe(tmp_path):
    def write(*cases):
        path = tmp_path / "cases.json"
        path.write_text("\n".join(case if isinstance(case, str) else json.dumps(case) for case in cases))
        return str(path)

    return write


def case(context=None, truth=TRUTH, category="PR_LC"):
    blocks = [f"input: {sentence}\noutput: {form}\n" for sentence, form in SHOWN]
    context = "\n".join([*blocks, f"input: {ASKED}\n"]) if context is None else context
    return {"context": context, "ground_truth": truth, "category": category}


def blocks(prompt):
    *shown, asked = prompt.split("\n\n")
    return [tuple(part.split(": ", 1)[1] for part in block.split("\n")) for block in shown], asked


class TestCogs:
    SHARK = ("The shark saw .", "* shark ( x _ 1 ) ; see . agent ( x _ 2 , x _ 1 )", "prim_to_subj_common")
    PAULA = (
        "Paula saw the dog .",
        "* dog ( x _ 3 ) ; see . agent ( x _ 1 , Paula ) AND see . theme ( x _ 1 , x _ 3 )",
        "p",
    )

    def test_a_file_is_read(self, cogs):
        sentences = read_cogs(cogs)
        assert len(sentences) == 45
        assert sentences[0] == ("Paula", "Paula", "primitive")

    def test_demonstrations_show_every_word(self, cogs, questions):
        task = cogs_task(cogs, questions(self.SHARK, self.PAULA), k=4)
        known = {sentence.text for sentence in read_cogs(cogs)}
        for given, row in zip(task.inputs, task.rows, strict=True):
            shown, asked = blocks(given.load().text)
            assert len({sentence for sentence, _ in shown}) == 4
            assert {sentence for sentence, _ in shown} <= known
            assert primitives(row.form) <= set().union(*(primitives(form) for _, form in shown))
            assert asked == f"input: {row.sentence}\noutput:"
        assert ("shark", "SHARK") in blocks(task.rows[0].prompt)[0]
        assert task.rows[0].form == "SEE ( SHARK , NONE , NONE )"

    def test_a_sentence_is_never_its_own_demonstration(self, cogs):
        for row in cogs_task(cogs, cogs, k=3).rows:
            if not row.fault:
                assert row.form not in {form for _, form in blocks(row.prompt)[0]}

    def test_a_question_whose_words_are_not_there_is_not_scored(self, cogs, questions):
        unknown = ("The yeti saw .", "* yeti ( x _ 1 ) ; see . agent ( x _ 2 , x _ 1 )", "p")
        task = cogs_task(cogs, questions(self.SHARK, unknown), k=4)
        with pytest.raises(BadSample, match=r"no 4 sentences of .* show all words of 'The yeti saw .'"):
            task.inputs[1].load()
        assert task.score(task.samples[1], "SEE ( YETI , NONE , NONE )") is None
        assert task.score(task.samples[0], "SEE ( SHARK , NONE , NONE )")["exact match"] == 1

    def test_more_demonstrations_than_sentences_cannot_be_shown(self, cogs, questions):
        (row,) = cogs_task(cogs, questions(self.SHARK), k=46).rows
        assert row.fault

    def test_questions_are_chosen_by_category_and_number(self, cogs, questions):
        path = questions(self.SHARK, self.PAULA)
        assert [row.form for row in cogs_task(cogs, path, category="p", k=4).rows] == ["SEE ( PAULA , DOG , NONE )"]
        assert len(cogs_task(cogs, path, queries=1, k=4).rows) == 1
        with pytest.raises(UserError, match=r"no category 'q'.*choose from prim_to_subj_common, p"):
            cogs_task(cogs, path, category="q")

    def test_the_seed_decides(self, cogs):
        one, again, other = (cogs_task(cogs, cogs, k=5, queries=20, seed=seed) for seed in (0, 0, 1))
        assert [row.prompt for row in one.rows] == [row.prompt for row in again.rows]
        assert [row.prompt for row in one.rows] != [row.prompt for row in other.rows]

    def test_other_files_are_refused_with_the_line(self, cogs, questions):
        with pytest.raises(UserError, match=r"gen.tsv, line 2: 2 columns instead of 3"):
            read_cogs(questions(self.SHARK, ("a", "b")))
        with pytest.raises(UserError, match="cannot read it"):
            read_cogs("nowhere.tsv")
        with pytest.raises(UserError, match="is not a term of COGS"):
            cogs_task(cogs, questions(("Emma saw .", "saw Emma", "p")))
        with pytest.raises(UserError, match="there is no sentence to translate"):
            cogs_task(cogs, questions())
        with pytest.raises(UserError, match="k=0 is not a whole number of at least 1"):
            cogs_task(cogs, cogs, k=0)


class TestCofe:
    def test_a_case_is_read(self, cofe):
        (one,) = read_cofe(cofe(case()))
        assert list(one.shown) == SHOWN
        assert (one.sentence, one.form, one.category, one.line) == (ASKED, TRUTH, "PR_LC", 1)

    def test_the_prompt_is_well_formed_or_as_released(self, cofe):
        path = cofe(case())
        (clean,), (released,) = (cofe_task(path, layout=layout).inputs for layout in ("clean", "released"))
        shown, asked = blocks(clean.load().text)
        assert (shown, asked) == (SHOWN, f"input: {ASKED}\noutput:")
        assert released.load().text == f"{case()['context']}\noutput:"
        assert released.load().text.endswith(f"input: {ASKED}\n\noutput:")

    @pytest.mark.parametrize(
        "first",
        [
            "input: A cake grew .\n\nGROW ( NONE , CAKE , NONE )\n",
            "input: A cake grew .\n\noutput: GROW ( NONE , CAKE , NONE )\n",
        ],
    )
    def test_malformed_demonstrations_are_fixed(self, cofe, first):
        (one,) = read_cofe(cofe(case(f"{first}\n{case()['context']}")))
        assert list(one.shown) == [("A cake grew .", "GROW ( NONE , CAKE , NONE )"), *SHOWN]

    def test_the_stray_prefix_of_a_truth_is_dropped(self, cofe):
        task = cofe_task(cofe(case(truth=f"output: {TRUTH}")))
        assert task.score(task.samples[0], TRUTH)["word error rate"] == 0

    def test_a_broken_truth_is_not_scored(self, cofe):
        task = cofe_task(cofe(case(), case(truth="LIKE ( WILON ( GIRL , BOX ) IAM , NONE , NONE )")))
        with pytest.raises(BadSample, match="00002: its right answer is not a chain-structured form"):
            task.inputs[1].load()
        assert task.score(task.samples[1], TRUTH) is None
        assert task.score(task.samples[0], TRUTH) is not None

    def test_it_is_said_whether_the_words_are_shown(self, cofe):
        lacking = case(f"input: {SHOWN[0][0]}\noutput: {SHOWN[0][1]}\n\ninput: {ASKED}\n")
        said = [sample.subsets["words shown"] for sample in cofe_task(cofe(case(), lacking)).samples]
        assert said == ["all", "not all"]

    @pytest.mark.parametrize("truth", ["LIKE ( WILON ( GIRL , BOX ) , NONE , NONE )", "UNDER ( ON , NONE , NONE )"])
    def test_a_truth_with_a_preposition_of_no_grammar_is_not_scored(self, cofe, truth):
        task = cofe_task(cofe(case(truth=truth), case()))
        with pytest.raises(BadSample, match="00001: its right answer is not a chain-structured form"):
            task.inputs[0].load()
        assert task.score(task.samples[0], truth) is None
        assert task.score(task.samples[1], truth)["well formed"] == 0

    def test_sentences_that_lack_their_prefix_are_read(self, cofe):
        asked, first = f"input: {ASKED}", f"input: {SHOWN[0][0]}"
        text = case()["context"]
        cases = read_cofe(cofe(*(case(text.replace(lost, lost.removeprefix("input: "))) for lost in (asked, first))))
        assert [(list(one.shown), one.sentence, one.fault) for one in cases] == [(SHOWN, ASKED, "")] * 2

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ({"context": "input: A", "ground_truth": 3, "category": ""}, "no text for each"),
            ({"context": "input: A ."}, "no text for each of context, ground_truth, category"),
            (case("input"), "unexpected line 'input'"),
            (case("output: A\n"), "unexpected line 'output: A'"),
            (case("output: A .\n"), "unexpected line 'output: A .'"),
            (case("input: A .\ninput: B .\n"), "unexpected line 'input: B .'"),
            (case("input: A .\nB .\n"), "unexpected line 'B .'"),
            (case("input: A .\noutput: B\n"), "no sentence is asked"),
            (case(""), "no sentence is asked"),
            (case("input:\noutput: B"), "unexpected line 'output: B'"),
        ],
    )
    def test_a_case_that_cannot_be_read_is_recorded_and_the_others_are_scored(self, cofe, line, fault):
        task = cofe_task(cofe(case(), line))
        assert task.score(task.samples[0], TRUTH)["exact match"] == 1
        assert task.score(task.samples[1], TRUTH) is None
        with pytest.raises(BadSample, match=f"^00002: {fault}"):
            task.inputs[1].load()
        with pytest.raises(UserError, match=f"line 1: {fault}"):
            cofe_task(cofe(line))

    @pytest.mark.parametrize(("line", "message"), [("{", "line 2: not JSON"), ("[1]", "line 2: not an object")])
    def test_what_is_no_file_of_objects_is_refused_with_its_line(self, cofe, line, message):
        with pytest.raises(UserError, match=message):
            read_cofe(cofe(case(), line))

    def test_other_layouts_are_refused(self, cofe):
        with pytest.raises(UserError, match=r"no layout 'cleen'.*clean"):
            cofe_task(cofe(case()), layout="cleen")
