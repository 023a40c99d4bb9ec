"""The built-in tasks and suites, registered like anybody's plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..harness.registry import Registrar
    from .multimodal.task import Benchmark

SUITES = Path(__file__).parent / "suites"

_SOURCES = "adaptbench.tasks.fewshot.sources"
_SHIPPED = {
    "glyphs": (
        (5, 15),
        "Letters of the world's scripts",
        {"source": "the fonts that matplotlib ships", "licence": "DejaVu and STIX font licences"},
    ),
    "digits": (
        (5,),
        "Handwritten digits",
        {"source": "sklearn.datasets.load_digits", "licence": "BSD-3-Clause"},
    ),
}
"""Images that come with a library: the ways that have names of their own, and what the card says."""
_YOURS = {
    "image-folder": "Images in a folder, one folder per class",
    "image-csv": "Images that a csv file lists",
    "image-json": "Images of the classes that a json file lists",
    "hf-images": "Images of a Hugging Face data set",
    "mini-imagenet": "miniImageNet, 64/16/20 classes",
    "tiered-imagenet": "tieredImageNet, 351/97/160 classes",
    "domainnet": "A domain of DomainNet, 180/65/100 classes",
    "omniglot": "Characters of Omniglot, in one of three splits",
    "cub": "Birds of CUB-200-2011, 140/30/30 classes",
    "meta-dataset": "One of the ten sources of Meta-Dataset",
}
"""Images that the user has."""


def _benchmarks() -> Iterator[tuple[Benchmark, str]]:
    """The multimodal benchmarks, each with the place of its factory."""
    from .multimodal import gqa, llava_bench, mmbench, mme, mmvet, pope, scienceqa, seed, textvqa, vizwiz, vqav2

    for module in (gqa, llava_bench, mmbench, mme, mmvet, pope, scienceqa, seed, textvqa, vizwiz, vqav2):
        name = module.__name__.rpartition(".")[2]
        yield module.BENCHMARK, f"{name}:{name}_task"


@hookimpl
def register(registry: Registrar) -> None:
    """Register few-shot tasks and the suites."""
    from .fewshot.protocol import Protocol, few_shot_card, zero_shot_card

    for name, (all_ways, summary, fields) in _SHIPPED.items():
        target = f"{_SOURCES}:{name}_task"
        registry.task(name, target, card=few_shot_card(summary, **fields))
        for ways in all_ways:
            for shots in (1, 5):
                args = {"ways": ways, "shots": shots}
                card = few_shot_card(summary, Protocol(**args), **fields)
                registry.task(f"{name}-{ways}way-{shots}shot", target, card=card, args=args)
    for name, summary in _YOURS.items():
        registry.task(name, f"{_SOURCES}:{name.replace('-', '_')}_task", card=few_shot_card(summary))
    for name, summary in ({name: summary for name, (_, summary, _) in _SHIPPED.items()} | _YOURS).items():
        target = f"{_SOURCES}:zero_shot_{name.replace('-', '_')}_task"
        registry.task(f"zero-shot-{name}", target, card=zero_shot_card(summary))
    registry.task(
        "task-list", "adaptbench.tasks.fewshot.task_lists:task_list", card=few_shot_card("Few-shot tasks of a list")
    )
    for benchmark, place in _benchmarks():
        registry.task(benchmark.name, f"adaptbench.tasks.multimodal.{place}", card=benchmark.card)
        if benchmark.name == "mmbench":
            registry.task(
                "mmbench-cn",
                f"adaptbench.tasks.multimodal.{place}",
                card=benchmark.card,
                args={"language": "cn"},
            )
    _register_compositional(registry)
    _register_prompting(registry)
    from .multimodal import shapes

    for factory, benchmark in shapes.FACTORIES.items():
        registry.task(benchmark.name, f"adaptbench.tasks.multimodal.shapes:{factory}", card=benchmark.card)
    for path in sorted(SUITES.glob("*.yaml")):
        registry.suite(path.stem, path)


def _register_compositional(registry: Registrar) -> None:
    """Register the suites of chapter 4."""
    from .compositional import cogs, linguistic
    from .compositional.logical import logical_card
    from .compositional.pairs import PAIRS

    here = "adaptbench.tasks.compositional"
    place = f"{here}.logical:logical"
    registry.task("logical", place, card=logical_card(list(PAIRS.values())))
    for slug, pair in PAIRS.items():
        registry.task(f"logical-{slug}", place, card=logical_card([pair]), args={"pair": slug})
    registry.task("linguistic-t1", f"{here}.linguistic:linguistic_t1", card=linguistic.T1)
    registry.task("linguistic-t2", f"{here}.linguistic:linguistic_t2", card=linguistic.T2)
    registry.task("cogs", f"{here}.cogs:cogs_task", card=cogs.COGS)
    registry.task("cofe", f"{here}.cogs:cofe_task", card=cogs.COFE)


def _register_prompting(registry: Registrar) -> None:
    """Register the data sets of prompt-based finetuning, and the generated ones."""
    from .prompting import factories
    from .prompting.data_sets import DATA_SETS
    from .prompting.words_tasks import TASKS

    here = "adaptbench.tasks.prompting.factories"
    for name in DATA_SETS:
        card = factories.data_set_card(name)
        registry.task(f"prompt-{name}", f"{here}:data_set_task", card=card, args={"name": name})
    for name in TASKS:
        registry.task(f"words-{name}", f"{here}:words_task", card=factories.words_card(name), args={"name": name})
