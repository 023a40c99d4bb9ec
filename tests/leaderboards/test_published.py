"""The published tables: nothing lost, nothing shifted, nothing corrected."""

import csv
import re
from pathlib import Path

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.leaderboards.dissertation import published

FOLDER = Path(published.__file__).parent / "tables"
INDEX = {line["table"]: line for line in csv.DictReader((FOLDER / "index.csv").read_text("utf-8").splitlines())}
TEXT = ("A.14", "A.15")
NUMBERS = [table for table in INDEX if table not in TEXT]
PRINTED = re.compile(r"(-?\d+(?:\.\d+)?)(?: \((\d+\.\d+)\)| ± (\d+\.\d+))?")

SUPERVISED = "Supervised pretraining on ImageNet"
CLIP_OURS = "CLIP-ViT32 | Multitask FT (Ours)"
LLAVA = "LLaVA-1.5 | Vicuna-7B | 100"
LLAVA_L_85 = "LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-7B | 85"
LLAVA_13B_L_85 = "LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-13B | 85"
LLAVA_13B_L_100 = "LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-13B | 100"
FASTV_L_60 = "FastV (K=2,R=0.5) | w/ AdaLLaVA-L | Vicuna-7B | 60"
FASTV_H_60 = "FastV (K=2,R=0.5) | w/ AdaLLaVA-H | Vicuna-7B | 60"
ZERO_SHOT = "Prompt-based zero-shot"
MULTITASK_ZERO_SHOT = "Multitask FT zero-shot"
MULTITASK = "Multitask Prompt-based FT"
SELECTED = "Multitask Prompt-based FT | + task selection"

# Sums that awk and perl took from the source's own lines, not from these files (added by hand where the source's cells
# are shifted): table, what is summed, its label, the sum of its values, the sum of its spreads. Every cell of every
# table counts in one of them, so that none changes alone unnoticed.
SUMS = [
    ("3.1", "table", "all", 5605.36, 0),
    ("3.1", "row", "MoCo v3 | Selected", 384.83, 0),
    ("3.1", "column", "Omglot", 831.73, 0),
    ("3.2", "table", "all", 7946.91, 25.58),
    ("3.2", "row", "MoCo v3 | ViT-B | Adaptation", 382.86, 1.53),
    ("3.2", "column", "DomainNet | 5-shot", 1092.70, 5.00),
    ("4.4", "table", "all", 16781, 0),
    ("4.4", "row", "(G) + (H) | Compose", 16, 0),
    ("4.4", "column", "Llama2 | 70B", 2162, 0),
    ("5.1", "row", LLAVA, 89.6, 0),
    ("5.1", "column", "FLOPs (T)", 97.3, 0),
    ("5.1", "column", "Prefill time (ms)", 927, 0),
    ("5.2", "row", FASTV_H_60, 190.9, 0),
    ("5.2", "column", "VQAv2", 1597.3, 0),
    ("5.2", "column", "SQAI", 1425.7, 0),
    ("5.2", "column", "VQAT", 1126.4, 0),
    ("5.3", "row", LLAVA, 1660.9, 0),
    ("5.3", "column", "POPE", 1785.7, 0),
    ("5.3", "column", "MME", 31118.8, 0),
    ("5.3", "column", "MMBench", 1337.4, 0),
    ("5.4", "table", "all", 7199.5, 0),
    ("5.4", "row", "Mipha-3B | w/ AdaLLaVA-L-60%", 1740.3, 0),
    ("5.4", "column", "MME", 5765.9, 0),
    ("5.5", "table", "all", 2118.2, 0),
    ("5.5", "row", "0.95", 533.6, 0),
    ("5.5", "column", "AdaLLaVA-L (deterministic scheduler) | Utilization (%)", 334.3, 0),
    ("A.1", "row", "Accuracy", 436.60, 1.92),
    ("A.2", "row", "Accuracy", 528.15, 1.13),
    ("A.3", "table", "all", 956.87, 0),
    ("A.3", "row", "DINOv2", 332.25, 0),
    ("A.3", "column", "351", 243.28, 0),
    ("A.4", "column", "Accuracy", 510.14, 4.01),
    ("A.5", "table", "all", 355.38, 0),
    ("A.5", "row", "CLIP", 128.45, 0),
    ("A.5", "column", "DomainNet + ImageNet", 174.17, 0),
    ("A.6", "table", "all", 745.68, 0),
    ("A.6", "row", "CLIP", 264.52, 0),
    ("A.6", "column", "3 ImageNet (Ours)", 152.42, 0),
    ("A.7", "table", "all", 2852.57, 0),
    ("A.7", "row", "CLIP | Selected", 475.58, 0),
    ("A.7", "column", "Omglot", 425.60, 0),
    ("A.8", "table", "all", 2475.23, 10.50),
    ("A.8", "row", "CLIP-ViT32 | Standard FT", 420.17, 1.75),
    ("A.8", "column", "DomainNet | 1-shot", 296.16, 2.26),
    ("A.9", "table", "all", 893.04, 1.94),
    ("A.9", "row", "800", 270.78, 0.56),
    ("A.9", "column", "Sample (m) | 200", 271.59, 0.55),
    ("A.10", "row", "Accuracy", 445.55, 0.93),
    ("A.11", "table", "all", 1216.92, 5.48),
    ("A.11", "row", "200", 289.16, 1.40),
    ("A.11", "row", "800", 314.28, 1.35),
    ("A.11", "column", "Sample (m) | 300", 303.29, 1.38),
    ("A.12", "table", "all", 10584.08, 34.51),
    ("A.12", "row", f"{SUPERVISED} | ResNet50 | MAML", 432.79, 1.54),
    ("A.12", "column", "tieredImageNet | 1-shot", 1759.64, 7.70),
    ("A.12", "column", "DomainNet | 5-shot", 1452.63, 6.68),
    ("A.13", "table", "all", 5020.335, 113.20),
    ("A.13", "row", MULTITASK, 582.5 + 516.1, 18.6 + 16.0),  # the two blocks of the table
    ("A.13", "column", "CoLA (Matt.)", 20.135, 14.3),
    ("A.13", "column", "MRPC (F1)", 373.5, 16.9),
    ("A.16", "table", "all", 5954.736, 113.20),
    ("A.16", "row", f"{MULTITASK_ZERO_SHOT} | + task selection", 483.101 + 451.3, 0),
    ("A.16", "column", "CoLA (Matt.)", 20.136, 14.3),
    ("A.16", "column", "QQP (F1)", 373.9, 8.6),
    ("A.17", "table", "all", 2998.5, 120.10),
    ("A.17", "row", SELECTED, 304.3 + 328.6, 25.5 + 19.3),
    ("A.17", "column", "SST-5 (acc)", 95.4, 17.9),
    ("A.17", "column", "MRPC (F1)", 282.9, 21.4),
    ("A.18", "table", "all", 604.36, 2.35),
    ("A.18", "row", "ResNet50 | Ours", 146.57, 0.61),
    ("A.18", "column", "DomainNet", 273.40, 1.30),
    ("A.19", "row", "Accuracy", 169.44, 1.01),
    ("A.20", "row", "ViT-B32", 141.3, 0),
    ("B.2", "row", "(A) + (B) | swap", 200, 0),
    ("B.2", "column", "Llama3 | 8B", 737, 0),
    ("B.2", "column", "Llama3 | 70B", 772, 0),
    ("C.1", "table", "all", 1036.9, 0),
    ("C.1", "row", "AdaLLaVA-L-7B-60%", 233.5, 0),
    ("C.1", "column", "MM-Vet", 115.7, 0),
    ("C.2", "row", LLAVA_13B_L_85, 147.2, 0),
    ("C.2", "column", "FLOPs (T)", 204.0, 0),
    ("C.2", "column", "Prefill time (ms)", 1948, 0),
    ("C.3", "row", LLAVA_13B_L_100, 212.0, 0),
    ("C.3", "column", "VQAv2", 3022.0, 0),
    ("C.3", "column", "SQAI", 2728.1, 0),
    ("C.3", "column", "VQAT", 2217.2, 0),
    ("C.4", "row", LLAVA_13B_L_100, 1715.4, 0),
    ("C.4", "column", "POPE", 3085.6, 0),
    ("C.4", "column", "MME", 55155.0, 0),
    ("C.4", "column", "MMBench", 2524.3, 0),
]

# A smaller table, a larger one that prints all of its cells again, and the cells that they print differently.
REPEATED = [
    ("5.1", "C.2", {}),
    ("5.2", "C.3", {(FASTV_L_60, "VQAT"): ("47.4", "47.2")}),
    ("5.3", "C.4", {}),
    ("3.2", "A.12", {}),
    ("A.13", "A.16", {}),
]

ONE_SHOT = "DomainNet | 1-shot"
TIERED = "tieredImageNet | 1-shot"
MINI = "miniImageNet | 1-shot"

# The same number under two names.
SAME = [
    (("A.1", "Accuracy", "# limited classes | 64"), ("A.10", "Accuracy", "# shot images | 1")),
    (("A.1", "Accuracy", "# limited classes | 0"), ("A.10", "Accuracy", "# shot images | 0")),
    (("A.1", "Accuracy", "# limited classes | 0"), ("A.9", "0", "Sample (m) | 0")),
    (("A.3", "DINOv2", "351"), ("3.2", "DINO v2 | ViT-B | Ours", TIERED)),
    (("A.3", "CLIP", "351"), ("A.8", CLIP_OURS, TIERED)),
    (("A.3", "Supervised", "351"), ("3.2", f"{SUPERVISED} | ViT-B | Ours", TIERED)),
    (("A.4", "MoCo v3 | ViT-B | DomainNet", "Accuracy"), ("3.2", "MoCo v3 | ViT-B | Ours", ONE_SHOT)),
    (("A.4", "MoCo v3 | ResNet50 | DomainNet", "Accuracy"), ("3.2", "MoCo v3 | ResNet50 | Ours", ONE_SHOT)),
    (("A.4", "DINO v2 | ViT-S | DomainNet", "Accuracy"), ("3.2", "DINO v2 | ViT-S | Ours", ONE_SHOT)),
    (("A.4", "DINO v2 | ViT-B | DomainNet", "Accuracy"), ("3.2", "DINO v2 | ViT-B | Ours", ONE_SHOT)),
    (("A.4", "Supervised | ViT-B | DomainNet", "Accuracy"), ("3.2", f"{SUPERVISED} | ViT-B | Ours", ONE_SHOT)),
    (("A.4", "Supervised | ResNet50 | DomainNet", "Accuracy"), ("3.2", f"{SUPERVISED} | ResNet50 | Ours", ONE_SHOT)),
    (("A.5", "DINOv2", "DomainNet"), ("A.6", "DINOv2", "5 DomainNet (Ours)")),
    (("A.5", "CLIP", "DomainNet"), ("A.8", CLIP_OURS, ONE_SHOT)),
    (("A.5", "Supervised", "DomainNet"), ("A.6", "Supervised", "5 DomainNet (Ours)")),
    (("A.6", "DINOv2", "1 Adaptation"), ("3.2", "DINO v2 | ViT-B | Adaptation", ONE_SHOT)),
    (("A.6", "DINOv2", "3 ImageNet (Ours)"), ("A.4", "DINO v2 | ViT-B | ImageNet", "Accuracy")),
    (("A.6", "DINOv2", "4 DomainNet (SFT)"), ("3.2", "DINO v2 | ViT-B | Standard FT", ONE_SHOT)),
    (("A.6", "CLIP", "4 DomainNet (SFT)"), ("A.8", "CLIP-ViT32 | Standard FT", ONE_SHOT)),
    (("A.6", "CLIP", "5 DomainNet (Ours)"), ("A.8", CLIP_OURS, ONE_SHOT)),
    (("A.6", "Supervised", "1 Adaptation"), ("3.2", f"{SUPERVISED} | ViT-B | Adaptation", ONE_SHOT)),
    (("A.6", "Supervised", "3 ImageNet (Ours)"), ("A.4", "Supervised | ViT-B | ImageNet", "Accuracy")),
    (("A.6", "Supervised", "4 DomainNet (SFT)"), ("3.2", f"{SUPERVISED} | ViT-B | Standard FT", ONE_SHOT)),
    (("A.11", "200", "Sample (m) | 150"), ("3.2", "MoCo v3 | ViT-B | Ours", TIERED)),
    (("A.19", "Accuracy", "Zero-shot"), ("A.18", "ViT-B | Adaptation", "tieredImageNet")),
]

# One setting, two numbers: what each table prints.
DIFFERENT = [
    (("A.6", "CLIP", "1 Adaptation"), 46.39, ("A.8", "CLIP-ViT32 | Direct Adaptation", ONE_SHOT), 46.48),
    (("5.5", "0.85", "AdaLLaVA-L (probabilistic scheduler) | Accuracy"), 74.9, ("5.2", LLAVA_L_85, "VQAv2"), 77.1),
]

# Lines of numbers that were read in the source a second time, by other people: table, row, columns, values.
QUOTED = [
    ("3.2", "MoCo v3 | ViT-B | Ours", "miniImageNet", [80.62, 93.89]),
    ("3.2", "DINO v2 | ViT-B | Adaptation", "DomainNet", [61.65, 79.34]),
    ("3.2", "DINO v2 | ViT-B | Ours", "DomainNet", [68.22, 82.62]),
    ("3.2", f"{SUPERVISED} | ViT-B | Ours", "DomainNet", [48.02, 67.25]),
    ("A.8", "CLIP-ViT32 | Direct Adaptation", "", [68.41, 87.43, 59.55, 79.51, 46.48, 72.01]),
    ("A.8", CLIP_OURS, "", [78.62, 93.22, 68.57, 84.79, 64.97, 80.49]),
    ("A.11", "400", "", [71.41, 75.60, 77.57, 78.66]),
    ("A.12", "MoCo v3 | ViT-B | MAML", "", [79.26, 93.02, 67.96, 84.66, 28.91, 51.12]),
    ("A.13", ZERO_SHOT, "SST-2", [83.6]),
    ("A.13", MULTITASK_ZERO_SHOT, "RTE", [74.0]),
    ("A.13", MULTITASK_ZERO_SHOT, "CoLA", [-0.065]),
    ("A.13", MULTITASK, "MNLI (", [70.9]),
    ("4.4", "(A) + (B) | Compose", "Llama2", [7, 1, 37]),
    ("4.4", "(A) + (C) | Com. in-context", "Llama2", [52, 77, 100]),
    ("4.4", "(B) + (D) | Compose", "Llama2", [0, 1, 62]),
    ("4.4", "(D) + (F) | Compose", "Llama2", [32, 80, 80]),
    ("B.2", "(A) + (F) | Compose", "Llama3", [88, 100]),
    ("C.2", LLAVA, "", [8.6, 81]),
    ("C.2", LLAVA_L_85, "", [7.2, 69]),
    ("C.2", LLAVA_13B_L_85, "", [14.2, 133]),
    ("C.2", "LLaVA-1.5 | w/ AdaLLaVA-H | Vicuna-13B | 60", "", [10.0, 94]),
    ("C.2", "Prumerge | Vicuna-7B | 100", "", [1.4, 16]),
    ("C.2", "Prumerge+ | Vicuna-7B | 100", "", [3.0, 29]),
    ("C.2", "FastV (K=2,R=0.5) | Vicuna-7B | 100", "", [4.9, 47]),
]


def cells(table):
    return {(cell.row, cell.column): cell for cell in published.read(table)}


def at(table, row, column):
    return cells(table)[row, column]


def test_the_index_names_every_file_of_the_folder_and_no_other():
    assert {path.name for path in FOLDER.glob("*.csv")} == {"index.csv", *(f"table-{table}.csv" for table in INDEX)}
    assert published.tables() == list(INDEX)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("table-*.csv")), ids=lambda path: path.stem)
def test_files_are_plain_csv_of_six_columns(path):
    raw = path.read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    header, *lines = csv.reader(raw.decode("utf-8").splitlines(), strict=True)
    assert header == ["row", "column", "value", "spread", "unit", "printed"]
    assert all(len(line) == 6 and all(text == text.strip() for text in line) for line in lines)


@pytest.mark.parametrize("table", INDEX)
def test_no_row_column_or_cell_is_lost(table):
    found, line = published.read(table), INDEX[table]
    assert len({cell.row for cell in found}) == int(line["rows"])
    assert len({cell.column for cell in found}) == int(line["columns"])
    assert len(found) == len({(cell.row, cell.column) for cell in found}) == int(line["cells"])


@pytest.mark.parametrize(("table", "axis", "label", "values", "spreads"), SUMS)
def test_rows_columns_and_tables_sum_to_what_the_source_prints(table, axis, label, values, spreads):
    line = [cell for cell in published.read(table) if axis == "table" or getattr(cell, axis) == label]
    assert line
    assert sum(cell.value or 0 for cell in line) == pytest.approx(values, abs=1e-6)
    assert sum(cell.spread or 0 for cell in line) == pytest.approx(spreads, abs=1e-6)


def test_every_table_of_numbers_has_a_sum():
    assert [table for table in INDEX if table in {line[0] for line in SUMS}] == NUMBERS


@pytest.mark.parametrize("table", NUMBERS)
def test_values_and_spreads_are_what_is_printed(table):
    for cell in published.read(table):
        if cell.printed == "-":
            assert (cell.value, cell.spread) == (None, None)
        else:
            value, *spreads = PRINTED.fullmatch(cell.printed).groups()
            assert cell.value == float(value)
            assert cell.spread == next((float(spread) for spread in spreads if spread), None)


@pytest.mark.parametrize("table", NUMBERS)
def test_figures_lie_in_the_range_of_their_unit(table):
    ranges = {"%": (0, 100), "TFLOPs": (0.5, 20), "ms": (5, 200), "score": (-1, 2000)}
    for cell in published.read(table):
        low, high = ranges[cell.unit]
        assert cell.value is None or low <= cell.value <= high
        assert cell.spread is None or 0 < cell.spread < 11


@pytest.mark.parametrize(("table", "dashes"), [("C.2", 16), ("C.3", 6), ("C.4", 13)])
def test_dashes_are_cells_without_a_value(table, dashes):
    assert sum(cell.value is None for cell in published.read(table)) == dashes


def test_only_the_tables_of_the_appendix_print_dashes():
    assert {table for table in INDEX for cell in published.read(table) if cell.value is None} == {"C.2", "C.3", "C.4"}


@pytest.mark.parametrize("table", TEXT)
def test_text_tables_hold_what_is_printed(table):
    for cell in published.read(table):
        assert (cell.unit, cell.spread) == ("text", None)
        assert cell.printed == (f"{cell.row}: {cell.value}" if table == "A.15" else cell.value)


def test_templates_and_label_words_are_complete():
    found = published.read("A.14")
    assert sum(cell.value.count("[MASK]") for cell in found if cell.column == "Template") == 13
    assert sum(cell.value.count(": ") for cell in found if cell.column == "Label words") == 35
    assert at("A.14", "MNLI", "Label words").value == "entailment: Yes, netural: Maybe, contradiction: No"
    assert at("A.14", "QQP", "Template").value == "<S₁> [MASK] , <S₂>"


def test_selected_datasets_choose_each_other():
    chosen = {cell.row: set(re.findall(r"[\w-]+", cell.value)) for cell in published.read("A.15")}
    assert sum(map(len, chosen.values())) == 44
    assert {frozenset({target, *others}) for target, others in chosen.items()} == {
        frozenset({"cola", "sst-2", "sst-5", "mr", "cr", "subj"}),
        frozenset({"mrpc", "qnli", "rte"}),
        frozenset({"qqp", "mnli", "snli"}),
        frozenset({"trec", "mpqa"}),
    }


@pytest.mark.parametrize(("small", "large", "differences"), REPEATED)
def test_repeated_cells_agree_but_for_these(small, large, differences):
    ours, theirs = cells(small), cells(large)
    printed = {key: (ours[key].printed, theirs[key].printed) for key in ours}
    assert {key: pair for key, pair in printed.items() if pair[0] != pair[1]} == differences


@pytest.mark.parametrize(("first", "second"), SAME)
def test_one_figure_in_two_tables_is_the_same(first, second):
    ours, theirs = at(*first), at(*second)
    assert ours.value == theirs.value
    assert ours.spread is None or theirs.spread is None or ours.spread == theirs.spread


@pytest.mark.parametrize(("first", "ours", "second", "theirs"), DIFFERENT)
def test_figures_that_the_source_contradicts_are_kept_and_noted(first, ours, second, theirs):
    assert (at(*first).value, at(*second).value) == (ours, theirs)
    assert str(ours) in INDEX[first[0]]["note"]
    assert str(theirs) in INDEX[first[0]]["note"]


def test_the_two_tables_of_task_selection_differ_in_all_but_three_cells():
    ours, theirs = cells("3.1"), cells("A.7")
    shared = ours.keys() & theirs.keys()
    assert len(shared) == 27
    assert {key for key in shared if ours[key] == theirs[key]} == {
        ("DINOv2 | Selected", "Flower"),
        ("MoCo v3 | Selected", "CUB"),
        ("MoCo v3 | Selected", "Flower"),
    }


@pytest.mark.parametrize(("table", "below"), [("A.13", [-0.065]), ("A.16", [-0.065, 0.001])])
def test_correlations_printed_without_the_factor_of_their_neighbours_stay_so(table, below):
    correlations = [cell.value for cell in published.read(table) if cell.column == "CoLA (Matt.)"]
    assert [value for value in correlations if abs(value) < 0.1] == below
    assert "x100" in INDEX[table]["note"]


@pytest.mark.parametrize(("table", "row", "columns", "values"), QUOTED)
def test_figures_agree_with_a_second_reading(table, row, columns, values):
    line = [cell.value for cell in published.read(table) if cell.row == row and cell.column.startswith(columns)]
    assert line == values


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [("3.2", "75.33 (0.30)", "60.60 (0.29)"), ("A.9", "83.03 ± 0.24", "90.80 ± 0.18"), ("C.4", "85.3", "65.3")],
)
def test_cells_come_in_the_order_of_the_table(table, first, last):
    found = published.read(table)
    assert (found[0].printed, found[-1].printed) == (first, last)


def test_the_two_blocks_of_language_tasks_come_one_after_the_other():
    first, second = published.read("A.13")[:40], published.read("A.13")[40:]
    assert (first[0].column, first[-1].column) == ("SST-2 (acc)", "CoLA (Matt.)")
    assert (second[0].column, second[-1].column) == ("MNLI (acc)", "QQP (F1)")


def test_an_unknown_table_is_one_clear_line():
    with pytest.raises(
        UserError, match=r"no published table 'C2' \(did you mean 'C.2'\?\); choose one of 3\.1, 3\.2, 4"
    ):
        published.read("C2")


def test_a_path_is_no_table():
    with pytest.raises(UserError, match="no published table"):
        published.read("../published/table-5.1")


def gain(table, row, other, column):
    """By how much a row of a table is above another, in points with two decimals."""
    return round(at(table, row, column).value - at(table, other, column).value, 2)


class TestWhatTheTextOfChapter3Derives:
    """Numbers of the text that its own tables give; the index notes where they do not."""

    @pytest.mark.parametrize(
        ("encoder", "quoted", "exact"), [("CLIP", 8.9, 8.88), ("DINOv2", 19.7, 19.69), ("MoCo v3", 2.4, 2.45)]
    )
    def test_gains_of_selection_on_omniglot(self, encoder, quoted, exact):
        assert gain("3.1", f"{encoder} | Selected", f"{encoder} | Random", "Omglot") == exact
        assert quoted == pytest.approx(exact, abs=0.051)

    def test_selection_does_not_gain_everywhere(self):
        shown = {column for _, column in cells("3.1")}
        lost = {
            (encoder, other, column)
            for encoder in ("CLIP", "DINOv2", "MoCo v3")
            for other in ("Random", "No Con.", "No Div.")
            for column in shown
            if gain("3.1", f"{encoder} | Selected", f"{encoder} | {other}", column) < 0
        }
        assert lost == {("CLIP", "No Con.", "Flower"), ("CLIP", "No Div.", "Flower")}
        assert "Flower" in INDEX["3.1"]["note"]

    def test_gains_of_multitask_finetuning(self):
        small, base = "DINO v2 | ViT-S | {}", "DINO v2 | ViT-B | {}"
        assert gain("3.2", small.format("Ours"), small.format("Standard FT"), ONE_SHOT) == 7.09
        assert gain("3.2", small.format("Ours"), small.format("Adaptation"), ONE_SHOT) == 9.29
        for model, quoted in ((f"{SUPERVISED} | ViT-B | {{}}", (67, 35)), (base, (10, 4))):
            for shots, said in zip(("1-shot", "5-shot"), quoted, strict=True):
                ours, theirs = (
                    at("3.2", model.format(way), f"DomainNet | {shots}").value for way in ("Ours", "Adaptation")
                )
                assert int(100 * (ours / theirs - 1)) == said

    def test_multitask_finetuning_is_above_all_baselines(self):
        for table, ours, others in (
            ("A.12", "Ours", ("Adaptation", "Standard FT", "MAML")),
            ("A.8", "Multitask FT (Ours)", ("Direct Adaptation", "Standard FT")),
        ):
            rows = {row.removesuffix(f" | {ours}") for row, _ in cells(table) if row.endswith(f" | {ours}")}
            columns = {column for _, column in cells(table)}
            gains = [gain(table, f"{r} | {ours}", f"{r} | {o}", c) for r in rows for o in others for c in columns]
            assert min(gains) > 0

    def test_maml_is_above_standard_finetuning_where_the_text_says_that_it_is_not(self):
        assert gain("A.12", f"{SUPERVISED} | ViT-B | MAML", f"{SUPERVISED} | ViT-B | Standard FT", MINI) == 0.07
        assert gain("A.12", "DINO v2 | ViT-B | MAML", "DINO v2 | ViT-B | Standard FT", MINI) < 0
        assert "less impressive" in INDEX["A.12"]["note"]

    @pytest.mark.parametrize(("table", "quoted", "least", "mean"), [("A.1", 4, 4.04, 5.36), ("A.2", 5.5, 5.57, 16.0)])
    def test_average_gains_of_classes_are_the_smallest(self, table, quoted, least, mean):
        *values, before = [cell.value for cell in published.read(table)]
        gains = [value - before for value in values]
        assert min(gains) == pytest.approx(least)
        assert sum(gains) / len(gains) == pytest.approx(mean, abs=0.01)
        assert f"{quoted} %" in INDEX[table]["note"]

    def test_gains_over_no_finetuning(self):
        assert min(cell.value for cell in published.read("A.9") if cell.row != "0") - 83.03 == pytest.approx(6.04)
        assert at("A.20", "ViT-B32", "Multitask finetune").value - at("A.20", "ViT-B32", "Zero-shot").value == (
            pytest.approx(1.5)
        )

    def test_unrelated_data_loses_for_two_encoders(self):
        lost = {
            row.removesuffix(" | ImageNet")
            for (row, _), cell in cells("A.4").items()
            if "ImageNet" in row
            and "Supervised |" not in row
            and cell.value < at("3.2", row.replace("ImageNet", "Adaptation"), ONE_SHOT).value
        }
        assert lost == {"MoCo v3 | ResNet50", "DINO v2 | ViT-S"}

    def test_prompts_gain_on_twelve_of_fifteen_only_with_the_better_of_two_rows(self):
        found = cells("A.13")
        tasks = {column for _, column in found}
        plain, chosen, before = (
            {task: found[row, task].value for task in tasks} for row in (MULTITASK, SELECTED, "Prompt-based FT")
        )
        assert sum(plain[task] > before[task] for task in tasks) == 10
        assert sum(chosen[task] > before[task] for task in tasks) == 11
        assert {task.split()[0] for task in tasks if max(plain[task], chosen[task]) <= before[task]} == {
            "SST-2", "Subj", "CoLA",
        }  # fmt: skip
        assert "12 of 15" in INDEX["A.13"]["note"]
        assert {task.split()[0] for task in tasks if chosen[task] > plain[task]} > {"MR", "CR", "TREC", "MNLI", "QQP"}
