"""What the trackers kept of the small run of `ci/trackers.sh`: an error if it is not what was measured."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32_768
LAST = {1, 4}
"""Types of the last piece of a record: whole, or the end of one that was cut."""


def main(work: Path) -> None:
    results = [json.loads(path.read_text()) for path in sorted(work.glob("runs/small/cells/*/result.json"))]
    assert len(results) == 2
    of_mlflow(results)
    of_wandb(results, work)
    print(f"MLflow and Weights & Biases kept {len(results)} cells, the manifest and the board")


def of_mlflow(results: list[dict]) -> None:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("small")
    runs = {run.data.tags["adaptbench.key"]: run for run in client.search_runs([experiment.experiment_id])}
    assert len(runs) == len(results) + 1, sorted(runs)
    for result in results:
        run = runs.pop(result["key"])
        accuracy = result["metrics"]["accuracy"]
        kept = run.data.metrics
        assert [kept[name] for name in ("accuracy", "accuracy low", "accuracy high")] == [
            accuracy[name] for name in ("value", "low", "high")
        ]
        assert run.data.params["model"] == result["cell"]["model"]
        assert run.info.status == "FINISHED"
        assert kept["seconds"] > 0
    (whole,) = runs.values()
    assert {item.path for item in client.list_artifacts(whole.info.run_id)} == {"manifest.json", "leaderboard.html"}


def of_wandb(results: list[dict], work: Path) -> None:
    kept: dict[str, dict[str, str]] = {}
    files = set()
    for path in work.glob("wandb/offline-run-*/run-*.wandb"):
        key = path.stem.removeprefix("run-")
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            kept.setdefault(key, {}).update({item.key: item.value_json for item in record.summary.update})
            files |= {entry.path for entry in record.artifact.manifest.contents}
            files |= {entry.path for entry in record.request.log_artifact.artifact.manifest.contents}
    for result in results:
        assert json.loads(kept[result["key"]]["accuracy"]) == result["metrics"]["accuracy"]["value"]
    assert files >= {"manifest.json", "leaderboard.html"}, files


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file of wandb's, which is a log as LevelDB writes it after a header of its own."""
    place, whole = HEADER, b""
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + HEADER])
        whole += data[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in LAST:
            yield whole
            whole = b""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
