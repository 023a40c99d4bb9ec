r"""Questions about images, six an image as in POPE, through a LLaVA with 576 image tokens: equal answers, times.

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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IMAGES, ROUNDS, BATCH, TOKENS = 4, 3, 12, 2
"""A batch is questions that are answered together; an answer is a word and its end."""
OBJECTS = ("dog", "cat", "car", "chair", "person", "bottle")
QUESTION = "Is there a {} in the image ?\nAnswer the question using a single word or phrase ."

WORKER = """
import json, sys
from types import SimpleNamespace
import torch
from PIL import Image
from lmms_eval.models.simple.llava_hf import LlavaHf

torch.set_num_threads(1)
folder, questions, tokens = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = LlavaHf(pretrained=folder, device="cpu", device_map="cpu", dtype="float32", attn_implementation="sdpa")
model.task_dict = {"pope": {"test": questions}}
visual = lambda question: [Image.open(question[0]).convert("RGB")]
print("ready", flush=True)
for _ in sys.stdin:
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


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Path of an image and a question about it, image by image."""
    import numpy as np
    from PIL import Image

    folder, asked = tmp_path_factory.mktemp("images"), []
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).resize((480, 480)).save(path)
        asked += [(str(path), QUESTION.format(name)) for name in OBJECTS]
    return asked


@pytest.fixture(scope="module")
def other(llava: Path, questions: list[tuple[str, str]]) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """The name of the other, and what has it answer all questions."""
    python = os.environ.get("LMMS_EVAL_PYTHON")
    if not python:
        yield "a loop with transformers", loop(llava, questions)
        return
    worker = subprocess.Popen(
        [python, "-c", WORKER, str(llava), json.dumps(questions), str(TOKENS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    def line(start: str) -> str:
        for text in worker.stdout or ():
            if text.startswith(start):
                return text.removeprefix(start)
        raise RuntimeError("lmms-eval has ended; what it wrote stands above")

    def answers() -> list[str]:
        worker.stdin.write("go\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
        found: list[str] = json.loads(line("answers "))
        return [answer.strip() for answer in found]

    line("ready")
    yield "lmms-eval 0.7 llava_hf", answers
    worker.communicate()


def loop(llava: Path, questions: list[tuple[str, str]]) -> Callable[[], list[str]]:
    """What lmms-eval does, with nothing around it."""
    import torch
    import transformers as hf
    from adaptbench.adapters.conversations import CONVERSATIONS
    from PIL import Image

    model = hf.LlavaForConditionalGeneration.from_pretrained(llava).eval()
    processor = hf.AutoProcessor.from_pretrained(llava, backend="pil")
    conversation = CONVERSATIONS["vicuna_v1"]

    def answers() -> list[str]:
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


def test_questions_on_images(
    llava: Path, questions: list[tuple[str, str]], other: Any, side_by_side: Any, report: Any
) -> None:
    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.batching import Batches
    from adaptbench.harness.contracts import Prompt
    from adaptbench.harness.hashing import image_digest
    from PIL import Image

    name, theirs = other
    fresh = [HFMultimodal(str(llava)) for _ in range(ROUNDS)]  # what one round shared is nothing to the next

    def ours() -> list[str]:
        model, images, answers = fresh.pop(), {}, []
        for path in dict.fromkeys(path for path, _ in questions):
            image = Image.open(path).convert("RGB")
            images[path] = (image,), (image_digest(image),)
        prompts = [Prompt(text, *images[path], max_new_tokens=TOKENS) for path, text in questions]
        for batch in Batches(BATCH, "llava")(model.generate, prompts):
            answers += batch
        return answers

    times = side_by_side(ours, theirs, rounds=ROUNDS)
    assert times.our_result == times.their_result
    assert len(set(times.our_result)) > 2
    ratio, count = times.ratio(), len(questions)
    report(
        f"{count} questions on {IMAGES} images, against {name}",
        f"{count / min(times.ours):.1f} a second",
        f"{count / min(times.theirs):.1f} a second",
        f"{ratio:.1f}",
    )
    assert ratio >= 3
