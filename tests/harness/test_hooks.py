"""Every hook has a validated signature, and docs/plugins.md states it."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness import hooks
from adaptbench.harness.plugins import Plugins

DOCS = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
EVENTS = [name for name in hooks.NAMES if name != "register"]


def event_of(hook):
    return getattr(hooks, inspect.signature(getattr(hooks, hook)).parameters["event"].annotation)


def test_there_are_these_hooks():
    assert hooks.NAMES == (
        "register",
        "run_started",
        "cell_started",
        "record_written",
        "cell_finished",
        "run_finished",
        "board_context",
    )


@pytest.mark.parametrize("hook", hooks.NAMES)
def test_the_docs_state_its_signature(hook):
    text = f"def {hook}{inspect.signature(getattr(hooks, hook))}".replace("'", "")
    assert f"```python\n{text}\n" in DOCS


@pytest.mark.parametrize("hook", EVENTS)
def test_the_docs_state_the_fields_of_its_event(hook):
    event = event_of(hook)
    fields = ", ".join(f"{field.name}: {field.type}" for field in dataclasses.fields(event))
    assert f"# {event.__name__}: {fields}\n```" in DOCS


@pytest.mark.parametrize("hook", hooks.NAMES)
def test_the_docs_say_when_it_is_called(hook):
    first = inspect.getdoc(getattr(hooks, hook)).removesuffix(".")
    paragraph = (
        DOCS.partition("\n## Hooks\n")[2].partition(f"def {hook}(")[2].partition("```\n")[2].partition("\n\n")[0]
    )
    assert first in " ".join(paragraph.split())


@pytest.mark.parametrize("hook", EVENTS)
def test_a_plugin_hears_it_with_the_event(hook):
    heard = []
    plugin = type("Plugin", (), {hook: staticmethod(adaptbench.hookimpl(lambda event: heard.extend([event])))})
    plugins = Plugins()
    assert plugins.add("mine", "here", lambda: plugin).error == ""
    event = event_of(hook)
    made = event(**{field.name: None for field in dataclasses.fields(event)})
    plugins.fire(hook, made)
    assert heard == [made]
    assert plugins.listens(hook)


@pytest.mark.parametrize("hook", hooks.NAMES)
def test_another_argument_is_refused(hook):
    plugin = type("Plugin", (), {hook: staticmethod(adaptbench.hookimpl(lambda other: None))})
    state = Plugins().add("mine", "here", lambda: plugin)
    assert hook in state.error
    assert "other" in state.error


@pytest.mark.parametrize("hook", EVENTS)
def test_a_hook_may_take_nothing(hook):
    heard = []
    plugin = type("Plugin", (), {hook: staticmethod(adaptbench.hookimpl(lambda: heard.append(1)))})
    plugins = Plugins()
    plugins.add("mine", "here", lambda: plugin)
    plugins.fire(hook, None)
    assert heard == [1]


@pytest.mark.parametrize("hook", EVENTS)
def test_an_event_cannot_be_changed_and_its_fields_are_named(hook):
    event = event_of(hook)
    names = [field.name for field in dataclasses.fields(event)]
    made = event(**dict.fromkeys(names))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, names[0], 1)
    with pytest.raises(TypeError):
        event(*names)
