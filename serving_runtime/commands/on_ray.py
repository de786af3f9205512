"""`predict --engine ray`: the cluster, the dataset and the output of Ray."""

import os
from pathlib import Path

import ray
from pyarrow import ArrowException
from ray.data import SaveMode
from ray.exceptions import RayError

from serving_runtime.commands.engine import Counts, Task, engine_error
from serving_runtime.prediction.record_batches import PROBLEM
from serving_runtime.ray_data import score_dataset


def score_on_ray(task: Task) -> Counts:
    """Score the rows on Ray, which repeats the work of an actor that is lost. Raises ServingError, CommandError."""
    _connect(task)
    try:
        rows = ray.data.read_parquet([_absolute(source) for source in task.sources])
        scored = score_dataset(
            rows,
            task.model_path,
            keep=task.keep,
            actors=task.workers,
            rows=task.rows,
            result_type=task.result_type,
            problems=task.problems,
        )
        scored.write_parquet(_absolute(task.output), mode=SaveMode.ERROR)
        return _counts(task)
    except (RayError, ArrowException, OSError, ValueError) as error:
        raise engine_error(str(error)) from None
    finally:
        ray.shutdown()


def _connect(task: Task) -> None:
    """Connect to a cluster, or start one on this machine with a processor for each actor and one that reads."""
    if task.address or os.environ.get("RAY_ADDRESS"):
        ray.init(address=task.address)
    else:
        ray.init(num_cpus=max(len(os.sched_getaffinity(0)), task.workers + 1), include_dashboard=False)


def _counts(task: Task) -> Counts:
    written = ray.data.read_parquet(_absolute(task.output))
    refused = written.filter(expr=f"{PROBLEM} is not None").count() if task.problems else 0
    return Counts(rows=written.count(), refused=refused)


def _absolute(path: str) -> str:
    """Return the path for processes with another working directory than this one."""
    return path if "://" in path else str(Path(path).resolve())
