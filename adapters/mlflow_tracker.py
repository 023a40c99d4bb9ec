"""A plugin that keeps runs in MLflow: ``--plugin mlflow``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..harness.errors import UserError
from .tracking import TrackerHooks

if TYPE_CHECKING:
    from .tracking import Logged

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
except ModuleNotFoundError as error:
    raise UserError(f"{error.name} is not installed", todo="pip install 'adaptbench[mlflow]'") from error

_LONGEST = 6_000
"""Characters of a value that MLflow takes."""
_KEY = "adaptbench.key"


class Mlflow:
    """MLflow, where its environment variables say.

    Runs are in the experiment ``MLFLOW_EXPERIMENT_NAME``, by default one of the run directory's name. They are known by
    a tag, so that whatever another session kept is not kept again.
    """

    name = "MLflow"

    def log(self, logged: Logged) -> None:
        """Keep a run."""
        client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or logged.group
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        found = client.search_runs([experiment], f"tags.`{_KEY}` = '{logged.key}'", max_results=1)
        if found and found[0].info.status == "FINISHED" and not logged.files:
            return
        tags = {_KEY: logged.key, "adaptbench.run": logged.group}
        info = (found[0] if found else client.create_run(experiment, run_name=logged.name, tags=tags)).info
        metrics = [Metric(_plain(name), value, info.start_time, 0) for name, value in logged.metrics.items()]
        params = [Param(_plain(name), str(value)[:_LONGEST]) for name, value in logged.params.items()]
        client.log_batch(info.run_id, metrics=metrics, params=params)
        for file in logged.files:
            client.log_artifact(info.run_id, str(file))
        client.set_terminated(info.run_id)


def _plain(name: str) -> str:
    """A name of the characters that MLflow takes; a slash would make it a folder."""
    return re.sub(r"[^A-Za-z0-9_\-. ]", "_", name)


hooks = TrackerHooks(Mlflow())
cell_finished, run_finished = hooks.cell_finished, hooks.run_finished
