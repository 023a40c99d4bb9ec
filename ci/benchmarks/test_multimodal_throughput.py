r"""Questions about images as POPE asks them, through a LLaVA with 576 image tokens: equal answers, times.

Each of POPE's files asks six questions on an image; the three files together ask eighteen on the same images.

The other is lmms-eval 0.7's ``llava_hf`` in an environment of its own, whose Python ``LMMS_EVAL_PYTHON`` names. It
shares this environment's torch and transformers, so that only the harness differs, and has of lmms-eval's many
requirements what ``llava_hf`` imports (not torchvision: with it, transformers would prepare images by other means)::

    .venv/bin/python -m venv /tmp/lmms
    echo $PWD/.venv/lib/python3.11/site-packages > /tmp/lmms/lib/python3.11/site-packages/base.pth
    /tmp/lmms/bin/pip install --no-deps lmms-eval==0.7.2 accelerate decord dill evaluate loguru pytablewriter pytz \
        requests sacrebleu tenacity urllib3 certifi jsonlines
    LMMS_EVAL_PYTHON=/tmp/lmms/bin/python make bench

Without it, the other is the same loop written with transformers: one question at a time, image and text through the
processor, ``model.generate``. The table says which it was.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.contracts import Prompt

    Questions = list[tuple[str, str]]
    """Path of an image and a question about it, image by image."""

ROUNDS, TOKENS, TOGETHER = 3, 2, 2
"""An answer is a word and its end; the questions on two images are answered together."""
OBJECTS = (
    "dog", "cat", "car", "chair", "person", "bottle", "bird", "boat", "cow", "sheep", "horse", "train", "bus", "table",
    "plant", "sofa", "tv", "bike",
)  # fmt: skip
QUESTION = "Is there a {} in the image ?\nAnswer the question using a single word or phrase ."

WORKER = """
import json, sys
from types import SimpleNamespace
import torch
from PIL import Image
from lmms_eval.models.simple.llava_hf import LlavaHf

torch.set_num_threads(1)
folder, tokens = sys.argv[1], int(sys.argv[2])
model = LlavaHf(pretrained=folder, device="cpu", device_map="cpu", dtype="float32", attn_implementation="sdpa")
visual = lambda question: [Image.open(question[0]).convert("RGB")]
print("ready", flush=True)
for line in sys.stdin:
    questions = json.loads(line)
    model.task_dict = {"pope": {"test": questions}}
    requests = [
        SimpleNamespace(args=(text, {"max_new_tokens": tokens, "temperature": 0}, visual, place, "pope", "test"))
        for place, (_, text) in enumerate(questions)
    ]
    print("answers " + json.dumps(model.generate_until(requests)), flush=True)
"""


@pytest.fixture(scope="module")
def llava(random_llava: Callable[..., Path]) -> Path:
    """A LLaVA of 33 million parameters with random weights."""
    return random_llava(
        {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 6},
        {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "num_attention_heads": 8},
        "Is there in image ? Answer question using single word or phrase yes no " + " ".join(OBJECTS),
    )


class Other(NamedTuple):
    """What ours is compared with.

    Attributes:
        name: Which it is.
        answer: Answers questions.
        process: Where it runs, if that is a process of its own.
    """

    name: str
    answer: Callable[[Questions], list[str]]
    process: int | None = None


@pytest.fixture(scope="module")
def other(llava: Path) -> Iterator[Other]:
    python = os.environ.get("LMMS_EVAL_PYTHON")
    if not python:
        yield Other("a loop with transformers", loop(llava))
        return
    worker = subprocess.Popen(
        [python, "-c", WORKER, str(llava), str(TOKENS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    def line(start: str) -> str:
        for text in worker.stdout or ():
            if text.startswith(start):
                return text.removeprefix(start)
        raise RuntimeError("lmms-eval has ended; what it wrote stands above")

    def answers(questions: Questions) -> list[str]:
        worker.stdin.write(json.dumps(questions) + "\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
        found: list[str] = json.loads(line("answers "))
        return [answer.strip() for answer in found]

    line("ready")
    yield Other("lmms-eval 0.7 llava_hf", answers, worker.pid)
    worker.communicate()


def loop(llava: Path) -> Callable[[Questions], list[str]]:
    """What lmms-eval does, with nothing around it."""
    import torch
    import transformers as hf
    from adaptbench.adapters.conversations import CONVERSATIONS
    from PIL import Image

    model = hf.LlavaForConditionalGeneration.from_pretrained(llava).eval()
    processor = hf.AutoProcessor.from_pretrained(llava, backend="pil")
    conversation = CONVERSATIONS["vicuna_v1"]

    def answers(questions: Questions) -> list[str]:
        found = []
        for path, question in questions:
            text = f"{conversation.before}<image>\n{question}{conversation.after}"
            inputs = processor(images=[Image.open(path).convert("RGB")], text=text, return_tensors="pt")
            with torch.inference_mode():
                ids = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
            new = ids[:, inputs["input_ids"].shape[1] :]
            found.append(processor.tokenizer.batch_decode(new, skip_special_tokens=True)[0].strip())
        return found

    return answers


def asked(folder: Path, images: int, each: int) -> Questions:
    """Draw images of noise; ask about the first objects on each."""
    import numpy as np
    from PIL import Image

    questions = []
    for number in range(images):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).resize((480, 480)).save(path)
        questions += [(str(path), QUESTION.format(name)) for name in OBJECTS[:each]]
    return questions


def prompts(questions: Questions) -> list[Prompt]:
    """Read and hash each image once, and put the questions as a task does."""
    from adaptbench.harness.contracts import Prompt
    from adaptbench.harness.hashing import image_digest
    from PIL import Image

    images = {}
    for path in dict.fromkeys(path for path, _ in questions):
        image = Image.open(path).convert("RGB")
        images[path] = (image,), (image_digest(image),)
    return [Prompt(text, *images[path], max_new_tokens=TOKENS) for path, text in questions]


def bound(model: HFMultimodal, on_one_image: Sequence[Prompt]) -> float:
    """FLOPs of the passes of questions on an image, over those where the image and what stands before it pass once.

    All of them read their prompt and the first word of the answer.
    """
    from adaptbench.adapters.multimodal_costs import language_flops
    from adaptbench.harness.execution import Execution, LayerWork

    def language(tokens: int) -> int:
        blocks = model.decoder.blocks
        works = (LayerWork(index, tokens, blocks.heads) for index in range(len(blocks.layers)))
        return language_flops(model.architecture, Execution(tuple(works)))

    image = model.loaded.model.config.image_token_id
    ids = model.loaded.encode(on_one_image[0])
    visual = model.architecture.visual_tokens
    prefix = language(ids.index(image) + visual)
    costs = [answer.cost for answer in model.answer(on_one_image)]
    seen = costs[0].flops - costs[0].language.spent
    read = [language(cost.text_tokens + cost.visual_tokens + 1) for cost in costs]
    return sum(seen + one for one in read) / (seen + prefix + sum(one - prefix for one in read))


@pytest.mark.parametrize(("images", "each", "times_faster"), [(4, 6, 5.0), (2, 18, 9.0)])
def test_questions_on_images(
    images: int, each: int, times_faster: float, llava: Path, other: Other, tmp_path: Path, side_by_side: Any,
    report: Any,
) -> None:  # fmt: skip
    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.batching import Batches

    questions = asked(tmp_path, images, each)
    fresh = [HFMultimodal(str(llava)) for _ in range(ROUNDS)]  # what one round shared is nothing to the next
    most = bound(HFMultimodal(str(llava)), prompts(questions[:each]))

    def ours() -> list[str]:
        batches = Batches(TOGETHER * each, "llava")(fresh.pop().generate, prompts(questions))
        return [answer for batch in batches for answer in batch]

    times = side_by_side(ours, lambda: other.answer(questions), rounds=ROUNDS, process=other.process)
    assert times.our_result == times.their_result
    assert len(set(times.our_result)) > 2
    ratio, count = times.ratio(), len(questions)
    report(
        f"{count} questions on {images} images, against {other.name}",
        f"{count / min(times.ours):.1f} a second",
        f"{count / min(times.theirs):.1f} a second",
        f"{ratio:.1f} (FLOPs: {most:.1f})",
    )
    assert ratio >= times_faster
