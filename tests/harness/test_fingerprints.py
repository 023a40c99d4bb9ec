import functools
import importlib.util
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptbench import UserError
from adaptbench.harness import fingerprints
from adaptbench.harness.fingerprints import named_files, object_digest, source_digest
from adaptbench.harness.hashing import package_source_digest


class Holder:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Slotted:
    __slots__ = ("x",)


def double(x):
    return 2 * x


def closure(value):
    return lambda: value


def local_class(value):
    class Local:
        def answer(self):
            return value

    return Local()


def linear(seed=0, **options):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2, **options)


def loop(value):
    one, two = Holder(value=value), Holder()
    one.other, two.other = two, one
    return one


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (lambda: Holder(a=1), lambda: Holder(a=2)),
        (lambda: Holder(a=1), lambda: Holder(b=1)),
        (lambda: Holder(a=1), lambda: Holder(a="1")),
        (lambda: Holder(a=1), lambda: Holder(a=True)),
        (lambda: Holder(a=[1, [2]]), lambda: Holder(a=[[1], 2])),
        (lambda: Holder(a={"x": 1}), lambda: Holder(a={"x": 2})),
        (lambda: Holder(a={1, 2}), lambda: Holder(a={1, 3})),
        (lambda: Holder(a={1: 2}), lambda: Holder(a=[(1, 2)])),
        (lambda: Holder(a={"x"}), lambda: Holder(a=["x"])),
        (lambda: Holder(a=Path("x")), lambda: Holder(a="x")),
        (lambda: Holder(a=float("nan")), lambda: Holder(a=None)),
        (lambda: Holder(a=np.zeros(3)), lambda: Holder(a=np.array([0, 0, 1e-300]))),
        (lambda: Holder(a=np.zeros(3)), lambda: Holder(a=np.zeros(3, dtype=np.float32))),
        (lambda: Holder(a=Holder(b=1)), lambda: Holder(a=Holder(b=2))),
        (lambda: Holder(module=linear()), lambda: Holder(module=linear(1))),
        (lambda: Holder(module=linear()), lambda: Holder(module=linear(bias=False))),
        (lambda: Holder(module=linear()), lambda: Holder(module=linear().double())),
        (lambda: Holder(a=torch.zeros(2, dtype=torch.bfloat16)), lambda: Holder(a=torch.ones(2, dtype=torch.bfloat16))),
        (lambda: Holder(module=torch.nn.LayerNorm(3)), lambda: Holder(module=torch.nn.LayerNorm(3, eps=1e-3))),
        (lambda: Holder(act=torch.relu), lambda: Holder(act=torch.tanh)),
        (lambda: Holder(act=double), lambda: Holder(act=linear)),
        (lambda: Holder(f=lambda: 1), lambda: Holder(f=lambda: 2)),
        (lambda: closure(1), lambda: closure(2)),
        (lambda: functools.partial(double, 1), lambda: functools.partial(double, 2)),
        (lambda: Holder(a=1).__init__, lambda: Holder(a=2).__init__),
        (lambda: local_class(1), lambda: local_class(2)),
        (lambda: loop(1), lambda: loop(2)),
    ],
)
def test_objects_that_can_be_told_apart_have_other_digests_and_equal_ones_the_same(one, two):
    assert object_digest(one()) is not None
    assert object_digest(one()) == object_digest(one())
    assert object_digest(two()) == object_digest(two())
    assert object_digest(one()) != object_digest(two())


def test_a_buffer_that_is_not_saved_counts_too():
    def module(value):
        holder = linear()
        holder.register_buffer("table", torch.full((2,), value), persistent=False)
        return holder

    assert object_digest(module(1.0)) != object_digest(module(2.0))


def test_tensors_are_compared_bit_by_bit():
    one = torch.tensor([1.0], dtype=torch.float64)
    assert object_digest([one]) != object_digest([one + 1e-12])
    assert object_digest([torch.tensor([2**24])]) != object_digest([torch.tensor([2**24 + 1])])


@pytest.mark.parametrize(
    "value",
    [
        np.random.default_rng(0),
        threading.Lock(),
        iter([1]),
        Slotted(),
        object(),
        np.array([object()]),
        torch.Generator(),
        torch.empty(2, device="meta"),
        type("Mine", (np.random.Generator,), {})(np.random.PCG64(0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_keeps_its_state_to_itself_has_no_digest(value):
    assert object_digest(value) is None
    assert object_digest(Holder(deep=[{"x": value}])) is None


def module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def test_a_function_in_a_file_of_its_own_is_known_by_that_file(tmp_path):
    digests = []
    for number, text in enumerate(["def f(): pass", "def f(): pass", "def f(): return 1"]):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        loaded = module(path, f"plugin_{number}")
        digests.append(source_digest(loaded.f))
        assert source_digest(functools.partial(loaded.f)) == digests[-1]
    assert digests[0] == digests[1] != digests[2]


def test_a_function_in_a_package_is_known_by_all_of_its_package(tmp_path, monkeypatch):
    digests = []
    for number, constant in enumerate((1, 2)):
        name = f"fingerprint_package_{number}"
        package = tmp_path / name / "deep"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").write_text("from .network import CONSTANT\ndef make(): return CONSTANT")
        (package / "network.py").write_text(f"CONSTANT = {constant}")
        monkeypatch.syspath_prepend(tmp_path)
        digests.append(source_digest(importlib.import_module(f"{name}.deep").make))
    assert digests[0] != digests[1]


def test_our_own_code_is_known_as_a_whole():
    assert source_digest(fingerprints.source_digest) == package_source_digest()


def test_a_program_that_is_piped_has_no_file(monkeypatch):
    piped = types.ModuleType("piped")
    piped.__file__ = "<stdin>"
    monkeypatch.setitem(sys.modules, "piped", piped)
    exec("class C:\n    pass\ndef f():\n    pass\n", vars(piped))
    assert object_digest(piped.C()) is None
    with pytest.raises(UserError, match="has no source file"):
        source_digest(piped.f)


def test_what_has_no_source_file_is_an_error_that_says_what_to_do():
    scope = {"__name__": "__notebook__"}
    exec("def f(): pass\nclass C: pass", scope)
    for thing in (scope["f"], len):
        with pytest.raises(UserError, match=r"it has no source file; give it a `fingerprint`"):
            source_digest(thing)
    assert object_digest(scope["C"]()) is None


def test_files_and_folders_that_arguments_name_count_with_their_content(tmp_path):
    (tmp_path / "w" / "deep").mkdir(parents=True)
    (tmp_path / "w" / "a.safetensors").write_bytes(b"1")
    file, folder = str(tmp_path / "w" / "a.safetensors"), str(tmp_path / "w")
    before = named_files({"file": file}), named_files({"folder": folder})
    assert len(before[0]) == len(before[1]) == 1
    (tmp_path / "w" / "a.safetensors").write_bytes(b"2")
    assert named_files({"file": file}) != before[0]
    assert named_files({"folder": folder}) != before[1]
    (tmp_path / "w" / "deep" / "b").write_bytes(b"3")
    assert len(named_files({"folder": folder})) == 2


@pytest.mark.parametrize("value", ["", "mean", 3, None, True, "x" * 5000, "nul\0"])
def test_arguments_that_name_no_file_count_as_they_are(value):
    assert named_files({"x": value}) == []
