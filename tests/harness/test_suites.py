"""Suite files: what is wrong is said with file, line or field."""

from __future__ import annotations

from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness.planning import find_suite
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.suites import load_suite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD = "name: mine\nmodels: [pixels]\ntasks: [digits]\n"


@pytest.fixture
def suite(tmp_path):
    def load(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_suite(path)

    return load


def test_a_whole_suite(suite):
    made = suite(
        "\ufeff# a comment\nname: My suite-2.0\ndescription: two lines\nmodels:\n  - pixels\n  - 'a+m(k=1)'\n"
        "tasks: [digits, 'glyphs(ways=5)']\nbudgets: [0.5, 1]\nseeds: [0, 7]\nbatch_size: 8\ndevice: cpu\n"
    )
    assert made.name == "My suite-2.0"
    assert made.models == ("pixels", "a+m(k=1)")
    assert made.tasks == ("digits", "glyphs(ways=5)")
    assert (made.budgets, made.seeds, made.batch_size, made.device) == ((0.5, 1.0), (0, 7), 8, "cpu")


def test_what_is_left_out_has_a_default(suite):
    made = suite(GOOD)
    assert (made.description, made.budgets, made.seeds, made.batch_size, made.device) == ("", (), (0,), None, None)


def test_sizes_are_one_number_or_several(suite):
    made = suite(GOOD + "tokens: 16\naverage_tokens: [16, 12.5]\nflops: 0.5\ntext_tokens: 15\n")
    assert [(size.measure, size.amount, size.text_tokens) for size in made.sizes] == [
        ("tokens", 16, 15), ("average_tokens", 16, 15), ("average_tokens", 12.5, 15), ("flops", 0.5, 15),
    ]  # fmt: skip
    assert suite(GOOD).sizes == ()


PLUGIN = """
import adaptbench

@adaptbench.hookimpl
def register(registry):
    registry.model("mine", "nowhere:Model", card=adaptbench.ModelCard(capabilities=("embed",)))
"""


class TestPlugins:
    @pytest.fixture
    def find(self, tmp_path, monkeypatch):
        """Find a suite below this folder by the plugins that it names."""
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "own.py").write_text(PLUGIN)

        def found(*names):
            listed = "".join(f"\n  - {name}" for name in names)
            (tmp_path / "sub" / "mine.yaml").write_text(f"{GOOD}plugins:{listed}\n")
            plugins = load_plugins()
            return find_suite(plugins, "sub/mine.yaml"), plugins

        return found

    def test_files_are_relative_to_the_suite_and_loaded(self, find):
        suite, plugins = find("./own.py")
        assert suite.plugins == (str(Path("sub/own.py")),)
        assert plugins.registry.find("model", "mine").owner == "own"

    def test_jobs_elsewhere_load_them_too(self, find):
        _, plugins = find("own.py")
        assert plugins.names.others == (str(Path("sub/own.py")),)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("gone.py", r"plugins of sub/mine.yaml: plugin is broken: .*no such plugin file.*gone.py"),
            ("nowhere_at_all", r"plugins of sub/mine.yaml: plugin is broken: ModuleNotFoundError.*nowhere_at_all"),
            ("json", r"plugins of sub/mine.yaml: plugin is broken: it implements no hook"),
        ],
    )
    def test_one_that_is_missing_or_broken_is_refused(self, find, name, message):
        with pytest.raises(UserError, match=message):
            find(name)


def test_every_shipped_suite_is_one():
    entries = load_plugins().registry.entries("suite")
    assert "demo" in [entry.name for entry in entries]
    for entry in entries:
        assert load_suite(entry.factory()()).name == entry.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "modles: [a]\n", r"mine.yaml: modles: .*did you mean 'models'"),
        (GOOD.replace("name: mine", "name: ''"), "name: "),
        (GOOD.replace("name: mine", "name: ../mine"), "name: "),
        (GOOD.replace("name: mine", "name: 3"), "name: .*string"),
        (GOOD.replace("name: mine\n", ""), "name: Field required"),
        (GOOD.replace("[pixels]", "[]"), "models: .*at least 1"),
        (GOOD.replace("[pixels]", "pixels"), "models: write a list"),
        (GOOD + "plugins: mine.py\n", "plugins: write a list"),
        (GOOD + "plugins: [3]\n", "plugins.0: .*string"),
        (GOOD.replace("[pixels]", "[pixels, pixels]"), "models: 'pixels' appears twice"),
        (GOOD.replace("[pixels]", "[1]"), "models.0: .*string"),
        (GOOD.replace("[pixels]", "['a(']"), "models: model spec 'a.': column 3: expected the name of an argument"),
        (GOOD.replace("[digits]", "[digits@0.5]"), "tasks: task spec 'digits@0.5': column 7"),
        (GOOD + "budgets: [0.5, 2]\n", r"\bbudgets: budget 2 is not in \(0, 1\]"),
        (GOOD + "tokens: 16.5\n", r"\btokens: 16.5 is not a whole number"),
        (GOOD + "average_tokens: .nan\n", r"^(?!.*average-tokens).*average_tokens: nan is not a number of tokens"),
        (GOOD + "budgets: [.nan]\n", r"budgets: .*is not in \(0, 1\]"),
        (GOOD + "budgets: 0.5\n", "budgets: write a list"),
        (GOOD + "flops: [0.5, 2]\n", r"\bflops: 2 is not in \(0, 1\]"),
        (GOOD + "average_tokens: -1\n", r"\baverage_tokens: -1 is not a number of tokens"),
        (GOOD + "tokens: many\n", "tokens.0: .*number"),
        (GOOD + "visual_tokens: 64\n", "text_tokens and visual_tokens describe the prompt of a size, and none"),
        (GOOD + "visual_tokens: 0\n", "visual_tokens: .*greater than or equal to 1"),
        (GOOD + "seeds: [0, -1]\n", "seeds: a seed is 0 or more"),
        (GOOD + "seeds: [true]\n", "seeds.0: "),
        (GOOD + "seeds: [0.5]\n", "seeds.0: "),
        (GOOD + "batch_size: 0\n", "batch_size: .*greater than or equal to 1"),
        (GOOD + "batch_size: '8'\n", "batch_size: .*integer"),
        (GOOD + "name: again\n", "line 4: not YAML: the key 'name' appears twice"),
        (GOOD + "seeds: &a [0]\nbudgets: *a\n", "line 5: not YAML: aliases are not allowed"),
        (GOOD + "a: [\n", "line 5: not YAML"),
        (GOOD + "a: 'b\n", "not YAML"),
        (GOOD + "? [a, b]\n: c\n", "line 4: not YAML: a key must be a text"),
        (GOOD + "description: 2001-99-99\n", "line 4: not YAML: '2001-99-99' cannot be read; put it in quotes"),
        (GOOD + "seeds: [!!int abc]\n", "line 4: not YAML: 'abc' cannot be read"),
        (GOOD + "device: !!bool maybe\n", "line 4: not YAML: 'maybe' cannot be read"),
        (GOOD + "seeds: !!map abc\n", "line 4: not YAML"),
        (GOOD + "device: !!python/object/apply:os.system ['true']\n", "line 4: not YAML"),
        (GOOD + "--- \nname: x\n", "not YAML: but found another document"),
        (b"name: \xff\xfe\n", "not UTF-8 text"),
        ("name: \x00\n", "not YAML"),
        ("[" * 3000, "nested too deeply"),
        ("", "not a suite: it holds no fields"),
        ("- a\n- b\n", "not a suite: it holds no fields"),
        ("text", "not a suite: it holds no fields"),
    ],
)
def test_an_error_names_the_file_and_the_line_or_the_field(suite, text, message):
    with pytest.raises(UserError, match=message) as caught:
        suite(text)
    assert "mine.yaml" in caught.value.where


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(UserError, match="cannot read it"):
        load_suite(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=40), st.text("name:modelstak [](){}!&*?|>-'\"#\n 019.,~<=", max_size=40)))
def test_any_file_is_a_suite_or_a_user_error(suite, content):
    error = "mine.yaml"
    try:
        suite(content)
    except UserError as caught:
        error = str(caught)
    assert "mine.yaml" in error
