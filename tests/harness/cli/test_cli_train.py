"""``adaptbench train``."""

import json

PLUGIN = """
import adaptbench

def train(out, steps=3, rate=0.5):
    out.mkdir(exist_ok=True)
    (out / "model.json").write_text(f'{{"steps": {steps}, "rate": {rate}}}')
    if steps < 0:
        raise ValueError("time does not run backwards")

@adaptbench.hookimpl
def register(registry):
    registry.recipe("toy", train)
"""


def test_a_recipe_is_run_with_its_arguments(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    done = cli("train", "toy(steps=7)", "--out", "here", "--plugin", "small.py")
    assert (done.status, done.out) == (0, "here\n")
    assert json.loads((tmp_path / "here" / "model.json").read_text()) == {"steps": 7, "rate": 0.5}


def test_what_goes_wrong_is_one_line(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    for recipe, message in [
        ("tyo", "unknown recipe 'tyo' (did you mean 'toy'?)"),
        ("toy(step=1)", "unknown argument 'step' (did you mean 'steps'?)"),
        ("toy(steps=-1)", "recipe toy(steps=-1) failed with ValueError: time does not run backwards"),
    ]:
        done = cli("train", recipe, "--out", "here", "--plugin", "small.py")
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert message in done.err
