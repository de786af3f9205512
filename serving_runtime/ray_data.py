"""A model over a dataset of Ray Data, in actors that hold it.

from serving_runtime.ray_data import score_dataset

score_dataset(ray.data.read_parquet("rows/"), "model", keep=["id"]).write_parquet("predictions/")
"""

import atexit
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from model_contract.extras import extra_of_import

with extra_of_import("ray"):
    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy, Dataset

    from serving_runtime.errors import OutputError
    from serving_runtime.location import find_model
    from serving_runtime.mlmodel import read_metadata
    from serving_runtime.model import load
    from serving_runtime.prediction.model_archive import pack, unpack
    from serving_runtime.prediction.record_batches import BatchScorer, with_problem
    from serving_runtime.prediction.result_type import result_columns

ROWS: Final = 50_000  # of a batch


def score_dataset(  # noqa: PLR0913  a public function, whose options are keywords
    dataset: Dataset,
    model_path: str | Path,
    *,
    keep: Sequence[str] = (),
    actors: int | None = None,
    rows: int = ROWS,
    result_type: str | None = None,
    problems: bool = False,
) -> Dataset:
    """Return the dataset of the predictions, with the columns `keep` of the rows before them.

    `actors` is their number, by default as many as Ray finds useful; each gets the model through Ray's object store,
    and loads it once. `result_type` is needed if the signature does not name the outputs: `double`, or
    `label string, score double`. A row that cannot be scored ends the work; with `problems`, such a row has null, and
    the reason in a column `problem`. Raises ServingError.
    """
    directory = find_model(Path(model_path))
    columns = result_columns(read_metadata(directory).signature, result_type)
    results = with_problem(columns) if problems else columns
    if both := next((name for name in keep if name in results.names), None):
        raise OutputError(f'the model predicts a column "{both}" too; do not keep that of the rows')
    packed = io.BytesIO()
    pack(directory, packed)
    return dataset.map_batches(
        _Scorer,
        fn_constructor_kwargs={
            "archive": ray.put(packed.getvalue()),
            "columns": columns,
            "problems": problems,
            "keep": tuple(keep),
        },
        batch_format="pyarrow",
        batch_size=rows,
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=actors),
    )


class _Scorer:
    """The state of an actor: the model, unpacked and loaded."""

    def __init__(self, archive: Any, columns: pa.Schema, problems: bool, keep: Sequence[str]) -> None:
        directory = Path(tempfile.mkdtemp(prefix="model-api-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)  # a model may read files when it predicts
        unpack(ray.get(archive), directory)
        self._score = BatchScorer(model=load(directory), schema=columns, problems=problems)
        self._keep = list(keep)

    def __call__(self, table: pa.Table) -> pa.Table:
        scored = pa.Table.from_batches(
            [self._score(batch) for batch in table.combine_chunks().to_batches()], schema=self._score.result_schema
        )
        for place, name in enumerate(self._keep):
            scored = scored.add_column(place, name, table.column(name))
        return scored
