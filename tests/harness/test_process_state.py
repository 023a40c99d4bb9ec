"""What a plugin's code changes of the process is put back, and said once."""

import json
import locale
import os
import threading
from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness import process_state
from adaptbench.harness.faults import blamed_on
from adaptbench.harness.hooks import RunFinished
from adaptbench.harness.plugins import load_plugins


@pytest.fixture(autouse=True)
def nobody_was_told(monkeypatch, tmp_path):
    monkeypatch.setattr(process_state, "_told", set())
    monkeypatch.chdir(tmp_path)


def spoilt(*_, **__):
    return "spoilt"


def patch_module():
    json.dumps = spoilt


def patch_class():
    json.JSONEncoder.iterencode = spoilt


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda: os.chdir("/"), "changed the current folder; it was put back"),
        (patch_module, "patched the module json; it was put back"),
        (patch_class, "patched the module json; it was put back"),
        (lambda: locale.setlocale(locale.LC_ALL, "C"), "changed the locale; it was put back"),
    ],
)
def test_it_is_put_back_and_said_once(caplog, tmp_path, change, what):
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    before = json.dumps, json.JSONEncoder.iterencode, locale.setlocale(locale.LC_ALL)
    for _ in range(2):
        with blamed_on("model mine", "mine on digits"), blamed_on("the task's load()", ""):
            pass
        with blamed_on("model mine", "mine on digits"):
            change()
            with blamed_on("the task's load()", ""):  # which did nothing
                pass
    assert (json.dumps, json.JSONEncoder.iterencode, locale.setlocale(locale.LC_ALL)) == before
    assert Path.cwd() == tmp_path
    assert [record.getMessage() for record in caplog.records] == [f"warning: model mine {what}"]


def test_it_is_put_back_where_the_code_fails(caplog, tmp_path):
    with pytest.raises(UserError, match="model mine failed with FileNotFoundError"), blamed_on("model mine", ""):
        Path(os.chdir("/") or "no such file").read_bytes()
    assert Path.cwd() == tmp_path
    assert "model mine changed the current folder" in caplog.text


def test_threads_that_are_left_are_said(caplog):
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, name=name, daemon=name == "quiet") for name in ("loud", "quiet")]
    with blamed_on("model mine", ""):
        for thread in threads:
            thread.start()
    stop.set()
    for thread in threads:
        thread.join()
    said = "warning: model mine left threads running, which keep the process from ending: loud"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_what_a_plugin_does_when_it_is_loaded_and_told_of_events_is_said(caplog, tmp_path):
    source = "import adaptbench, os\nos.chdir('/')\n"
    source += "@adaptbench.hookimpl\ndef run_finished(event): os.chdir('/')\n"
    (tmp_path / "mover.py").write_text(source)
    plugins = load_plugins([tmp_path / "mover.py"])
    assert Path.cwd() == tmp_path
    assert "plugin mover changed the current folder" in caplog.text
    plugins.fire("run_finished", RunFinished(path=tmp_path, results=()))
    assert Path.cwd() == tmp_path
