"""Names and what they stand for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from adaptbench import MethodCard, ModelCard, TaskCard, UserError
from adaptbench.harness.registry import Entry, Registrar, Registry
from adaptbench.harness.specs import parse_call

if TYPE_CHECKING:
    from decimal import Decimal

MODEL = ModelCard(capabilities=("embed",))
TASK = TaskCard(capability="embed")


def bind(text, factory, kind="model", args=None, **offered):
    registrar = Registrar("mine")
    name = parse_call(text).name
    if kind == "task":
        registrar.task(name, factory, card=TASK, args=args)
    else:
        registrar.model(name, factory, card=MODEL)
    return registrar.entries[0].bind(parse_call(text), **offered)


def typed(
    count: int = 1,
    on: bool = True,
    rate: float | None = None,
    path: str = "",
    mode: Literal["a", "b"] = "a",
    few: int | Literal["all"] = 1,
    version: Literal["1", "2"] = "1",
    level: Literal[0, 1] = 0,
    implicit: int = None,  # noqa: RUF013 - a stranger may write it so
    unresolved: Decimal | None = None,
    listed: list[int] | None = None,
    untyped=0,
): ...


def typed_after_ours(
    ours: object,
    count: int = 1,
    rate: float | None = None,
    path: str = "",
    mode: Literal["a", "b"] = "a",
): ...


class TestRegistrar:
    @pytest.mark.parametrize("target", ["module", "module:", ":attribute", "a b:c", "mod/ule:f", "module:f()", 3, None])
    def test_a_target_is_a_place_or_can_be_called(self, target):
        with pytest.raises(UserError, match="model 'x'"):
            Registrar("mine").model("x", target, card=MODEL)

    @pytest.mark.parametrize("name", ["", "a b", "a:b", "a+b", "a@1", "a(b)"])
    def test_a_name_is_one_that_a_spec_can_say(self, name):
        with pytest.raises(UserError, match="is not a valid name"):
            Registrar("mine").model(name, "m:f", card=MODEL)

    @pytest.mark.parametrize("card", [None, {"capabilities": ["embed"]}, TASK, ModelCard])
    def test_a_card_is_one_of_its_kind(self, card):
        with pytest.raises(UserError, match="give a ModelCard"):
            Registrar("mine").model("x", "m:f", card=card)

    @pytest.mark.parametrize("formats", [["html"], ["."], [".HTML"], [".md", ".tar.gz"], [""], []])
    def test_the_formats_of_a_report_are_endings_of_files(self, formats):
        with pytest.raises(UserError, match="not the ending of a file name"):
            Registrar("mine").report("x", "m:f", formats=formats)

    @pytest.mark.parametrize("panels", ["nowhere", 3])
    def test_panels_are_checked_as_targets_are(self, panels):
        with pytest.raises(UserError, match="figure 'x': "):
            Registrar("mine").figure("x", "m:f", panels=panels)

    def test_registers_every_kind(self, tmp_path):
        registrar = Registrar("mine")
        registrar.model("a", "m:f", card=MODEL)
        registrar.method("b", "m:f", card=MethodCard())
        registrar.task("c", "m:f", card=TASK, args={"ways": 5})
        registrar.suite("d", str(tmp_path / "d.yaml"))
        registrar.report("e", "m:f", formats=[".txt"])
        assert [(e.kind, e.name, e.owner) for e in registrar.entries] == [
            ("model", "a", "mine"),
            ("method", "b", "mine"),
            ("task", "c", "mine"),
            ("suite", "d", "mine"),
            ("report", "e", "mine"),
        ]
        assert registrar.entries[3].factory()() == tmp_path / "d.yaml"


class TestNames:
    def registry(self, *plugins):
        registry = Registry()
        for owner, override in plugins:
            registrar = Registrar(owner)
            registrar.model("x", "m:f", card=MODEL, override=override)
            registrar.model(f"only-{owner}", "m:f", card=MODEL)
            registry.adopt(registrar.entries)
        return registry

    def test_a_conflict_names_both_owners_and_registers_nothing(self):
        registry = self.registry(("one", False))
        registrar = Registrar("two")
        registrar.model("y", "m:f", card=MODEL)
        registrar.model("x", "m:f", card=MODEL)
        with pytest.raises(UserError, match=r"model 'x' of plugin 'two' is registered by plugin 'one'.*override=True"):
            registry.adopt(registrar.entries)
        assert [e.name for e in registry.entries("model")] == ["only-one", "x"]

    @pytest.mark.parametrize("plugins", [(("one", False), ("two", True)), (("two", True), ("one", False))])
    def test_override_wins_whichever_is_loaded_first(self, plugins):
        registry = self.registry(*plugins)
        assert registry.find("model", "x").owner == "two"
        assert {e.name for e in registry.entries("model")} == {"x", "only-one", "only-two"}

    def test_one_plugin_cannot_have_a_name_twice(self):
        registrar = Registrar("one")
        registrar.model("x", "m:f", card=MODEL)
        registrar.model("x", "m:g", card=MODEL)
        with pytest.raises(UserError, match="is registered by plugin 'one'"):
            Registry().adopt(registrar.entries)

    def test_kinds_do_not_mix(self):
        registrar = Registrar("one")
        registrar.model("x", "m:f", card=MODEL)
        registrar.task("x", "m:f", card=TASK)
        registry = Registry()
        registry.adopt(registrar.entries)
        assert registry.find("task", "x").kind == "task"

    def test_an_unknown_name_offers_the_nearest_and_mentions_broken_plugins(self):
        registry = self.registry(("one", False))
        registry.broken["other"] = "ImportError: no"
        with pytest.raises(UserError) as caught:
            registry.find("model", "only-oen")
        message = str(caught.value)
        assert "did you mean 'only-one'" in message
        assert "plugin 'other' failed to load (ImportError: no)" in message
        assert "adaptbench list models" in message


class TestFactory:
    @pytest.mark.parametrize(
        ("source", "story"),
        [
            ("import no_such_module_at_all", "ModuleNotFoundError.*no_such_module_at_all.*install what it needs"),
            ("def f(:", "SyntaxError"),
            ("1 / 0", "ZeroDivisionError"),
            ("raise SystemExit('bye')", "SystemExit: bye"),
            ("g = 1", "AttributeError.*'f'"),
            ("f = 1", "it is a int, which cannot be called"),
        ],
    )
    def test_what_cannot_be_loaded_is_a_user_error(self, source, story, tmp_path, monkeypatch):
        (tmp_path / "broken_factory.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "broken_factory", raising=False)
        registrar = Registrar("mine")
        registrar.model("x", "broken_factory:f", card=MODEL)
        with pytest.raises(UserError, match=f"(?s)model 'x'.*of plugin 'mine'.*{story}"):
            registrar.entries[0].factory()

    def test_an_interrupt_is_no_fault_of_the_plugin(self, tmp_path, monkeypatch):
        (tmp_path / "stopped_factory.py").write_text("raise KeyboardInterrupt")
        monkeypatch.syspath_prepend(tmp_path)
        registrar = Registrar("mine")
        registrar.model("x", "stopped_factory:f", card=MODEL)
        with pytest.raises(KeyboardInterrupt):
            registrar.entries[0].factory()

    def test_a_nested_attribute_is_found(self):
        registrar = Registrar("mine")
        registrar.model("x", "os:path.join", card=MODEL)
        assert registrar.entries[0].factory()("a", "b")


class TestBind:
    def test_arguments_come_from_the_name_the_spec_and_the_offer_in_this_order(self):
        def factory(a, b=0, c=0, seed=0, device="cpu"): ...

        given = bind("t(b=2)", factory, "task", {"a": 1, "b": 1}, seed=7, other=3)
        assert given == {"a": 1, "b": 2, "seed": 7}
        assert bind("t(seed=9)", factory, "task", {"a": 1}, seed=7) == {"a": 1, "seed": 9}

    def test_the_target_fills_the_first_parameter(self):
        assert bind("m:some/path(k=1)", lambda path, k=0: ...) == {"path": "some/path", "k": 1}

    @pytest.mark.parametrize("text", ["m:x", "m:x(path=y)"])
    def test_a_malformed_target_is_refused(self, text):
        with pytest.raises(UserError, match="takes nothing after ':'"):
            bind(text, (lambda: ...) if text == "m:x" else (lambda path: ...))

    def test_an_unknown_argument_offers_the_nearest(self):
        with pytest.raises(UserError, match=r"unknown argument 'szie' \(did you mean 'size'\?\); it takes size, mode"):
            bind("m(szie=1)", lambda size=1, mode=2: ...)
        with pytest.raises(UserError, match="it takes no arguments"):
            bind("m(size=1)", lambda: ...)

    @pytest.mark.parametrize(
        ("text", "factory", "todo"),
        [("m", lambda path: ..., "write m:VALUE"), ("m:x", lambda path, k: ..., r"write m\(k=VALUE\)")],
    )
    def test_a_missing_argument_is_named(self, text, factory, todo):
        with pytest.raises(UserError, match=f"is missing; {todo}"):
            bind(text, factory)

    @pytest.mark.parametrize(
        ("kind", "text", "message"),
        [
            ("task", "x(count=abc)", "task x(count=abc): count must be a whole number, not abc"),
            ("task", "x(count=1.5)", "task x(count=1.5): count must be a whole number, not 1.5"),
            ("model", "x(count=true)", "model x(count=true): count must be a whole number, not true"),
            ("model", "x(on=maybe)", "model x(on=maybe): on must be true or false, not maybe"),
            ("model", "x(on=1)", "model x(on=1): on must be true or false, not 1"),
            ("recipe", "x(rate=high)", "recipe x(rate=high): rate must be a number, not high"),
            ("recipe", "x(rate=false)", "recipe x(rate=false): rate must be a number, not false"),
            ("report", "x(path=3)", 'report x(path=3): path must be text, not 3; put it in quotes: path="3"'),
            ("report", "x(path=null)", "report x(path=null): path must be text, not null"),
            ("figure", "x(mode=c)", "figure x(mode=c): mode must be one of a, b, not c"),
            (
                "model",
                "x(version=2)",
                'model x(version=2): version must be one of 1, 2, not 2; put it in quotes: version="2"',
            ),
            ("model", "x(level=true)", "model x(level=true): level must be one of 0, 1, not true"),
            (
                "architecture",
                "x(few=many)",
                "architecture x(few=many): few must be a whole number or one of all, not many",
            ),
            (
                "importer",
                "x:3(path=y)",
                "importer x:3(path=y): count must be a whole number, not 3; write x(count=VALUE)",
            ),
        ],
    )
    def test_an_argument_of_another_type_than_its_parameter_is_refused(self, kind, text, message):
        with pytest.raises(UserError) as caught:
            Entry(
                kind, "x", typed_after_ours if kind in {"recipe", "report", "figure", "importer"} else typed, "mine"
            ).bind(parse_call(text))
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        "text",
        [
            "x(path=p)",
            'x(count=0,on=false,rate=1,path="3")',
            "x(rate=1.5,mode=b,few=all)",
            "x(rate=null,few=3)",
            'x(version="2",level=1,implicit=null)',
            "x(unresolved=3,listed=true,untyped=null)",
        ],
    )
    def test_arguments_of_the_type_and_of_types_that_are_not_plain_are_passed_on(self, text):
        assert Entry("model", "x", typed, "mine").bind(parse_call(text)) == dict(parse_call(text).args)

    def test_what_the_name_fixes_and_the_harness_offers_is_not_checked(self):
        def factory(count: int, seed: int, device: str = "cpu"): ...

        given = bind("t", factory, "task", {"count": Path("a")}, seed=Path("b"), device=None)
        assert given == {"count": Path("a"), "seed": Path("b"), "device": None}

    def test_a_factory_that_takes_anything_is_given_anything(self):
        assert bind("m(a=1)", lambda **rest: ..., seed=3) == {"a": 1}

    def test_a_class_that_inherits_a_task_takes_no_arguments(self):
        from adaptbench import Task

        class Mine(Task): ...

        with pytest.raises(UserError, match="it takes no arguments"):
            bind("t(a=1)", Mine, "task")

    def test_a_factory_without_a_signature_is_a_user_error(self):
        with pytest.raises(UserError, match="its arguments are unknown"):
            bind("m", min)
