"""Register the names; nothing of them is imported for it."""

from pathlib import Path

import adaptbench


@adaptbench.hookimpl
def register(registry):
    """Give the model, the method, the task and the suite their names."""
    things = "adaptbench_example.things"
    registry.model(
        "mean-colour",
        f"{things}:MeanColour",
        card=adaptbench.ModelCard(
            summary="Mean colour of a grid of tiles",
            capabilities=("embed",),
            licence="Apache-2.0",
            training_data="none",
            offers=frozenset({"tiles"}),
        ),
    )
    registry.method(
        "fewer-tiles",
        f"{things}:FewerTiles",
        card=adaptbench.MethodCard(
            summary="Keep a share of the tiles",
            licence="Apache-2.0",
            needs=frozenset({"tiles"}),
            modifies=frozenset({"tiles"}),
            takes_budget=True,
        ),
    )
    registry.task(
        "brightness",
        f"{things}:Brightness",
        card=adaptbench.TaskCard(summary="Is the image light?", capability="embed", chance=0.5, sample_noun="image"),
    )
    registry.suite("example", Path(__file__).with_name("example.yaml"))
