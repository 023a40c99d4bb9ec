"""The same checks from pytest, with the fixture that AdaptBench's plugin brings."""

from brightness import LightOrDark, MeanBrightness


def test_scores_are_those_of_the_baseline(adaptbench_gate):
    adaptbench_gate.check("gate.yaml", plugins=["brightness.py"])


def test_one_batch_is_not_slower_than_one_image_at_a_time(adaptbench_gate):
    model, images = MeanBrightness(), [item.load() for item in LightOrDark().inputs]
    adaptbench_gate.not_slower(
        lambda: [model.embed([image]) for image in images], lambda: model.embed(images), pairs=7, seconds=0.02
    )
