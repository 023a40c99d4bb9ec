"""A plugin that keeps runs in Weights & Biases: ``--plugin wandb``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..harness.errors import UserError
from .tracking import TrackerHooks

if TYPE_CHECKING:
    from .tracking import Logged

try:
    import wandb
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed", todo="pip install 'adaptbench[wandb]'") from error


class WeightsAndBiases:
    """Weights & Biases, where its environment variables say.

    Runs are in the project ``WANDB_PROJECT``, by default ``adaptbench``, and those of a run directory are a group.
    Their ids are the keys, so that what is kept again takes the place of what was kept before.
    """

    name = "Weights & Biases"

    def log(self, logged: Logged) -> None:
        """Keep a run."""
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "adaptbench",
            group=logged.group,
            job_type="run" if logged.files else "cell",
            id=logged.key,
            name=logged.name,
            config=logged.params,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True),
        )
        try:
            run.summary.update(logged.metrics)
            if logged.files:
                kept = wandb.Artifact(f"adaptbench-{logged.key}", type="adaptbench-run")
                for file in logged.files:
                    kept.add_file(str(file))
                run.log_artifact(kept)
        finally:
            run.finish()


hooks = TrackerHooks(WeightsAndBiases())
cell_finished, run_finished = hooks.cell_finished, hooks.run_finished
