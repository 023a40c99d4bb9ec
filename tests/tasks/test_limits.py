"""A run of some samples reads the images and makes the prompts of these samples, and of no others."""

import io
from collections import Counter

import adaptbench
import datasets
import pytest
from adaptbench.tasks.compositional import linguistic, logical
from adaptbench.tasks.multimodal import pope, shapes, shapes_drawing, task
from adaptbench.tasks.multimodal.images import LazyImage
from adaptbench.tasks.multimodal.question import Question
from adaptbench.tasks.multimodal.tables import Table
from PIL import Image

QUESTIONS, LIMIT = 300, 2
LIMITS = [{"limit": LIMIT}, {"sample": LIMIT}]


class Yes:
    name = "yes"

    def generate(self, prompts):
        return ["yes"] * len(prompts)


@pytest.fixture
def counted(monkeypatch):
    """Count the calls of a function, by its arguments."""

    def count(home, name):
        calls, function = Counter(), getattr(home, name)

        def counting(*args, **kwargs):
            calls[str(args)] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(home, name, counting)
        return calls

    return count


def encoded(shade):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (shade % 256, shade // 256, 0)).save(stream, "PNG")
    return stream.getvalue()


def questions(read):
    """Two questions on each image, which no name but its content groups."""

    def fetch(number):
        read[number] += 1
        return encoded(number)

    images = [LazyImage(f"image {number}", lambda number=number: fetch(number)) for number in range(QUESTIONS // 2)]
    axes = {"split": "random", "answer": "yes"}
    return [Question(f"random/{n}", f"Is there a {n}?", images[n // 2], "yes", subsets=axes) for n in range(QUESTIONS)]


@pytest.mark.parametrize("limit", LIMITS)
def test_questions_on_images(tmp_path, counted, limit):
    read, rendered = Counter(), counted(task, "render")
    asked = pope.BENCHMARK.task(questions(read))
    (result,) = adaptbench.run(Yes(), asked, out=tmp_path, **limit).results
    assert result.samples == LIMIT
    assert 1 <= len(read) <= LIMIT, "images"
    assert len(rendered) == LIMIT, "prompts"


def test_equal_images_are_still_a_group():
    read = Counter()
    samples = pope.BENCHMARK.task(questions(read)).samples
    assert read == {}
    assert [samples[i].group == samples[i + 1].group for i in range(3)] == [True, False, True]


def test_a_table_of_images(tmp_path, counted):
    rows = {
        "question": [f"Is there a {n}?" for n in range(QUESTIONS)],
        "answer": ["yes", "no"] * (QUESTIONS // 2),
        "category": ["random"] * QUESTIONS,
        "image": [{"bytes": encoded(n), "path": None} for n in range(QUESTIONS)],
    }
    features = datasets.Features({**dict.fromkeys(list(rows)[:3], datasets.Value("string")), "image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "pope.parquet")
    read = counted(Table, "_value")
    spec = f'pope(annotations="{tmp_path}/pope.parquet")'
    (result,) = adaptbench.run(Yes(), spec, out=tmp_path / "run", limit=LIMIT).results
    assert result.samples == LIMIT
    assert len(read) == LIMIT


def test_a_row_of_a_table_may_have_no_image():
    cells = [{"bytes": encoded(1), "path": None}, None, {"bytes": None, "path": "x.png"}, {"bytes": b"", "path": ""}]
    one = datasets.Dataset.from_dict({"image": cells}, features=datasets.Features({"image": datasets.Image()}))
    frames = [[cells[0]], [], None]
    of_frames = datasets.Features({"image": datasets.List(datasets.Image())})
    several = datasets.Dataset.from_dict({"image": frames}, features=of_frames)
    assert [Table(one, "one").image(row) is not None for row in range(4)] == [True, False, True, False]
    assert [Table(several, "several").image(row) is not None for row in range(3)] == [True, False, False]


@pytest.mark.parametrize("limit", LIMITS)
def test_shapes(tmp_path, counted, limit):
    drawn, rendered = counted(shapes_drawing, "draw_scene"), counted(task, "render")
    (result,) = adaptbench.run(Yes(), shapes.shapes_pope(scenes=20), out=tmp_path, **limit).results
    assert result.samples == LIMIT
    assert 1 <= len(drawn) <= LIMIT
    assert len(rendered) == LIMIT


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    ("home", "spec"), [(logical, "logical-ab(queries=50)"), (linguistic, "linguistic-t1(queries=50)")]
)
def test_compositional_tasks(tmp_path, counted, home, spec, limit):
    written = counted(home, "prompt_of")
    (result,) = adaptbench.run(Yes(), spec, out=tmp_path, **limit).results
    assert result.samples == LIMIT
    assert sum(written.values()) == LIMIT


class Grey:
    name = "grey"

    def __init__(self):
        self.asked = set()

    def embed(self, images):
        self.asked |= {image.tobytes() for image in images}
        return [[float(image.getpixel((0, 0))[0]), 1.0] for image in images]


def test_no_images_of_other_episodes_are_encoded(tmp_path):
    model = Grey()
    (result,) = adaptbench.run(model, "glyphs(ways=5,shots=1,queries=3,episodes=100)", out=tmp_path, limit=1).results
    assert result.samples == 1
    assert len(model.asked) == 5 * (1 + 3)
