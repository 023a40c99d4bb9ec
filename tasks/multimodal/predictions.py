"""Predictions that others made: their rows, from any file format, matched with the questions of a task.

Files are what people have: LLaVA's ``answers.jsonl``, result files of the official scripts, lmms-eval's sample logs,
VLMEvalKit's sheets. Byte-order marks, mixed line ends, blank lines and blanks around names are read over; anything that
cannot be read is refused with its place.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...harness.contracts import Predictions
from ...harness.errors import UserError
from ...harness.faults import told
from ...harness.predictions import counted, some, what_was_read, without_collection
from ...harness.reading import read_json, read_json_lines, shown
from .json_rows import checked_row, json_rows
from .tables import read_delimited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .question import Question
    from .task import VisualQuestions

Row: TypeAlias = "Mapping[str, Any]"
"""One prediction: column -> value."""
Names: TypeAlias = "Callable[[Question], Iterable[str]]"
"""What prediction files may call a question."""


@without_collection()
def read_predictions(  # noqa: PLR0913 - one parameter is one thing in which formats differ
    path: Path,
    task: VisualQuestions,
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    row_names: Callable[[Row], Iterable[str]] = lambda _: (),
    question_names: Names = lambda question: (question.id,),
    rows: Iterable[tuple[str, Row]] | None = None,
) -> Predictions:
    """Read the answers to a task's questions.

    Where two rows are about one question the last one counts, as in the official scripts. An answer that is missing
    (``null``, NaN, an empty cell) is an output of ``None``. A row of lmms-eval or VLMEvalKit that no name matches is
    about the question at its ``doc_id`` or ``index``, if it holds that question's text.

    Args:
        path: A file, or a folder (see `read_rows`).
        task: What the predictions are for.
        ids: Columns that name the question, the best first.
        texts: Columns that hold the answer, the best first.
        row_names: Further names of the question that a row is about, which come before those of ``ids``.
        question_names: What predictions may call a question.
        rows: Those of the file, each with its place, if they are not as `read_rows` has them.

    Raises:
        UserError: A row cannot be read, has no such column, or no row is about a question of the task.
    """
    known = {name: question.id for question in task.questions for name in question_names(question)}
    answers: dict[str, str | None] = {}
    unmatched: list[str] = []
    repeated: list[str] = []
    count = 0
    for place, row in map(unfolded, read_rows(path) if rows is None else rows):
        count += 1
        names = [*row_names(row), *[name for column in ids if (name := as_text(row.get(column), place))]]
        text = _answer(row, texts, place)
        found = _known(names, known) or _by_position(row, task.questions)
        if found is not None:
            if found in answers:
                repeated.append(found)
            answers[found] = text
        elif names:
            unmatched.append(names[0])
        else:
            what = f"none of {', '.join(ids)} names a question, and its text is not that of the question at its number"
            raise UserError(what, where=place, todo="fix the row, or check that task and file are of one split")
    if not answers:
        what = f"none of its {len(unmatched)} predictions is for a question of this task"
        raise UserError(what if unmatched else "it has no predictions", where=str(path), todo="check task and file")
    left_out = {"that a later one replaces": repeated, "to no question of this task": unmatched}
    read = what_was_read(counted(count, "answer"), with_files(path), left_out)
    return Predictions(_by_sample(task, answers), tuple(unmatched), repeats(repeated), read=read)


def repeats(names: Iterable[str]) -> tuple[str, ...]:
    """Return what is to be said of questions that have several predictions."""
    told = list(dict.fromkeys(names))
    return (f"several predictions for {some(told, 'question')}: the last one counts",) if told else ()


class Rows:
    """The rows of a file, read anew each time they are asked for: those of a large one are never in memory together.

    Args:
        path: See `read_rows`.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        return read_rows(self._path)


def read_rows(path: str | Path, columns: Any = Any) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a file, each with its place for messages.

    Args:
        path: A file of JSON lines, JSON, CSV, TSV or XLSX. A JSON file holds a list of objects, an object with such
            lists in it, or an object from names to answers (rows with ``question_id`` and ``text``), maybe in
            ``outputs``. Of a folder, all files of the first of the kinds JSON lines, XLSX, TSV, JSON, CSV that it has,
            by name.
        columns: A ``TypedDict`` of those that are needed; others may be left out, which saves time.

    Raises:
        UserError: It is no such file, or a row cannot be read; the message names the line.
    """
    for file in _files(Path(path).expanduser()):
        reader = _READERS[file.suffix.lower()]
        yield from _json(file, columns) if reader is _json else reader(file)


def with_files(path: str | Path) -> str:
    """Name a file; of a folder also the files in it that are read, where they are a few."""
    place = Path(path).expanduser()
    files = []
    with contextlib.suppress(UserError):  # MME's are of another kind
        files = [file.name for file in _files(place)] if place.is_dir() else []
    return f"{path} ({', '.join(files)})" if 1 <= len(files) <= 12 else str(path)


def as_text(value: Any, place: str) -> str | None:
    """Return a cell as text; ``None`` if it is missing. Whole numbers have no decimals, a list of one is its item.

    Raises:
        UserError: It is a list or an object.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, list) and len(value) == 1:
        return as_text(value[0], place)
    raise UserError(f"{shown(value)} is not text", where=place, todo="fix the row")


def unfolded(placed: tuple[str, Row]) -> tuple[str, Row]:
    """Lay the document of a sample of lmms-eval beside what the model said, which becomes ``text``."""
    place, row = placed
    said = row.get("filtered_resps", row.get("resps"))
    if said is None:
        return placed
    document = row["doc"] if isinstance(row.get("doc"), dict) else {}
    return place, {"question": row.get("input"), **document, "doc_id": row.get("doc_id"), "text": said}


def _known(names: Iterable[str], known: Mapping[str, str]) -> str | None:
    """The question that the first known name is of."""
    for name in names:
        if (found := known.get(name.strip())) is not None:
            return found
    return None


def _answer(row: Row, texts: Sequence[str], place: str) -> str | None:
    for column in texts:
        if column in row:
            return as_text(row[column], place)
    raise UserError(
        f"no column {' or '.join(texts)} with the answer", where=place, todo="check that these are predictions"
    )


def _by_position(row: Row, questions: Sequence[Question]) -> str | None:
    position = str(row.get("doc_id", row.get("index")))
    if not (position.isascii() and position.isdecimal() and len(position) <= _DIGITS):
        return None
    if int(position) >= len(questions):
        return None
    question = questions[int(position)]
    same = question.text.strip() and question.text.strip().lower() in str(row.get("question")).lower()
    return question.id if same else None


def _by_sample(task: VisualQuestions, answers: Mapping[str, str | None]) -> dict[str, Any]:
    """Sample -> its answer, or the answers to its questions; samples without any are left out."""
    outputs: dict[str, Any] = {}
    ids = [question.id for question in task.questions]
    for sample in task.samples:
        names = [ids[position] for position in sample.inputs]
        if len(names) > 1 and not answers.keys().isdisjoint(names):
            outputs[sample.id] = [answers.get(name) for name in names]
        elif names[0] in answers:
            outputs[sample.id] = answers[names[0]]
    return outputs


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix.lower() not in _READERS:
            kinds = ", ".join(_READERS)
            raise UserError(f"the name of a file of rows ends in one of {kinds}", where=str(path))
        return [path]
    for suffix in _READERS:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == suffix and file.is_file())
        if files:
            return files
    raise UserError(f"the folder has no file that ends in one of {', '.join(_READERS)}", where=str(path))


def _json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    has_rows = False
    try:
        for place, row in read_json_lines(path):
            has_rows = True
            yield place, checked_row(row, place)
    except UserError:
        document = None if has_rows else _document(path)
        if document is None:
            raise
        yield from _items(document, path)


def _document(path: Path) -> Any:
    """The one JSON document of a file of the wrong name, as LLaVA's output for ScienceQA is; ``None`` if it is not."""
    with contextlib.suppress(UserError):
        return read_json(path)
    return None


def _json(path: Path, columns: Any = Any) -> Iterator[tuple[str, Row]]:
    rows = json_rows(path, columns)
    if rows is not None:
        yield from rows
        return
    try:
        content = read_json(path)
    except UserError as error:
        if "Extra data" not in error.what:
            raise
        yield from _json_lines(path)  # under the wrong name, as POPE's files and some of LLaVA's are
        return
    yield from _items(content, path)


def _items(content: Any, path: Path) -> Iterator[tuple[str, Row]]:
    if isinstance(content, dict):
        content = _listed(content)
    if not isinstance(content, list):
        raise UserError("neither a list nor an object", where=str(path), todo="give a file of predictions")
    for number, row in enumerate(content, 1):
        place = f"{path}, item {number}"
        yield place, checked_row(row, place)


def _listed(content: dict[str, Any]) -> list[Any]:
    """The rows of an object: those of its lists, or its names with their answers, or those of its ``outputs``."""
    lists = [value for value in content.values() if isinstance(value, list)]
    if len(lists) == 1 or (lists and all(isinstance(row, dict) for rows in lists for row in rows)):
        return [row for rows in lists for row in rows]
    named = content["outputs"] if isinstance(content.get("outputs"), dict) else content
    return [_named(name, value) for name, value in named.items()]


def _named(name: str, value: Any) -> Row:
    return {"question_id": name, **value} if isinstance(value, dict) else {"question_id": name, "text": value}


def _sheet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        import openpyxl
    except ImportError as error:
        raise UserError("openpyxl is needed", where=str(path), todo="pip install 'adaptbench[tables]'") from error
    with _opening_sheet(path):
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            lines = book.worksheets[0].iter_rows(values_only=True)
            header = [str(name) for name in next(lines, ())]
            for number, cells in enumerate(lines, 2):
                if any(cell is not None for cell in cells):
                    yield f"{path}, row {number}", dict(zip(header, cells, strict=False))
        finally:
            book.close()


@contextlib.contextmanager
def _opening_sheet(path: Path) -> Iterator[None]:
    """A file that is damaged may fail anywhere in openpyxl, in any way, and only when its rows are read."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror or error}", where=str(path), todo="check the path") from error
    except Exception as error:
        raise UserError(f"not an XLSX file: {told(error)}", where=str(path), todo="save it as XLSX") from error


def _delimited(delimiter: str) -> Callable[[Path], Iterator[tuple[str, Row]]]:
    def rows(path: Path) -> Iterator[tuple[str, Row]]:
        for number, row in enumerate(read_delimited(path, delimiter), 1):
            yield f"{path}, row {number}", row

    return rows


_DIGITS = 18
"""Of the longest number that is read."""


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _json_lines,
    ".xlsx": _sheet,
    ".tsv": _delimited("\t"),
    ".json": _json,
    ".csv": _delimited(","),
}
"""Kind of file -> its reader. In a folder an earlier kind holds predictions, and a later one what was made of them."""
