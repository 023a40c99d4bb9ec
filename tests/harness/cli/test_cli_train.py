"""``adaptbench train``."""

import json

import pytest

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


BASE = """
import adaptbench

def train(out, base):
    from adaptbench.harness.plugins import load_plugins
    print(load_plugins().registry.find("model", base).name)

@adaptbench.hookimpl
def register(registry):
    registry.recipe("toy", train)
    registry.model("mine", object, card=adaptbench.ModelCard(summary="mine", capabilities=("embed",)))
"""


def test_a_recipe_finds_the_models_of_the_plugin(cli, tmp_path):
    (tmp_path / "small.py").write_text(BASE)
    done = cli("train", "toy", "--base", "mine", "--out", "here", "--plugin", "small.py")
    assert (done.status, done.out) == (0, "mine\nhere\n")


def test_what_goes_wrong_is_one_line(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    for recipe, message in [
        ("tyo", "unknown recipe 'tyo' (did you mean 'toy'?)"),
        ("toy(step=1)", "unknown argument 'step' (did you mean 'steps'?)"),
        ("toy(steps=", "recipe spec 'toy(steps='"),
        ("toy(steps=-1)", "recipe toy(steps=-1) failed with ValueError: time does not run backwards"),
    ]:
        done = cli("train", recipe, "--out", "here", "--plugin", "small.py")
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert message in done.err


@pytest.mark.parametrize("out", ["small.py", "small.py/here"])
def test_a_file_is_not_a_folder_for_a_model(cli, tmp_path, out):
    (tmp_path / "small.py").write_text(PLUGIN)
    done = cli("train", "toy", "--out", out, "--plugin", "small.py")
    assert (done.status, done.err) == (2, "error: --out: small.py is a file; name a folder\n")


def test_options_after_the_name_are_arguments_of_the_recipe(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    for arguments in [
        ["toy", "--steps", "7", "--rate", "1e-3"],
        ["toy(steps=7)", "--rate=1e-3"],
        ["toy", "--out", "here", "--rate", "0.001", "--steps=7"],
    ]:
        done = cli("train", *arguments, *([] if "--out" in arguments else ["--out", "here"]), "--plugin", "small.py")
        assert (done.status, done.out, done.err) == (0, "here\n", "")
        assert json.loads((tmp_path / "here" / "model.json").read_text()) == {"steps": 7, "rate": 0.001}


def test_a_dash_in_an_option_is_an_underscore_and_specs_are_text(cli, tmp_path):
    (tmp_path / "words.py").write_text(
        PLUGIN.replace("steps=3, rate=0.5", "other_base, on=False").replace(
            """f'{{"steps": {steps}, "rate": {rate}}}')\n    if steps < 0:""", "repr([other_base, on]))\n    if False:"
        )
    )
    spec = "llava:/x(conversation=plain)+fastv(k=2,r=0.5)"
    done = cli("train", "toy", "--other-base", spec, "--on", "true", "--out", "here", "--plugin", "words.py")
    assert (done.status, done.err) == (0, "")
    assert (tmp_path / "here" / "model.json").read_text() == repr([spec, True])


def test_wrong_options_are_one_line_that_names_those_that_exist(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    for arguments, message in [
        (["toy", "--step", "1"], "unknown argument 'step' (did you mean 'steps'?); it takes steps, rate"),
        (["toy", "--steps"], "--steps has no value; write --steps VALUE"),
        (["toy", "7"], "'7' has no name; write --name value"),
        (["toy(steps=1)", "--steps", "2"], "argument 'steps' is given twice"),
    ]:
        done = cli("train", *arguments, "--out", "here", "--plugin", "small.py")
        assert (done.status, done.err.count("\n")) == (2, 1), done.err
        assert message in done.err
