"""A message that another process reads gives the model what this process would have given it, by every protocol."""

import io
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from serving_runtime.errors import ServingError
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform_plan import Matrix
from serving_runtime.model import Model, load
from serving_runtime.options import Coerce
from serving_runtime.prediction.handler import describe_for_clients
from serving_runtime.prediction.warm_up import WarmUpResult
from serving_runtime.process.body_reader import BodyReader, BodyReaderError
from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Inputs, Message, Prediction, Protocol, ServedModel
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE
from serving_runtime.settings import read_settings
from testbed.processes import PATIENCE

ROWS = 300
SPLIT = {
    "columns": ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"],
    "data": [[True, row, 2**60 + row, 0.5, row / 7, f"é{row}", "aGk=", "2024-01-31T12:00:00Z"] for row in range(ROWS)],
}
RECORDS = [dict(zip(SPLIT["columns"], row, strict=True)) for row in SPLIT["data"]]
FRAME = pd.DataFrame(RECORDS).astype({"integer": "int32", "float": "float32"})
FRAME["binary"] = b"hi"
FRAME["datetime"] = pd.Timestamp("2024-01-31T12:00:00")
WINE = pd.DataFrame({name: np.linspace(3, 9, ROWS) for name in ("fixed acidity", "pH", "alcohol")})
PERSON = {"name": "a", "age": 3}
TENSORS = {"ids": [[row, row] for row in range(ROWS)], "mask": [True] * ROWS}
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


def arrow(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    written = io.BytesIO()
    with ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    return written.getvalue()


def in_parquet(frame: pd.DataFrame, *, index: bool = False) -> bytes:
    written = io.BytesIO()
    frame.set_index(frame["double"] if index else frame.index).to_parquet(written, index=index or None)
    return written.getvalue()


def tensors(*, binary: bool) -> tuple[bytes, dict[bytes, bytes]]:
    values = WINE.to_numpy()
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP64", "shape": list(values.shape)}
    if not binary:
        return json.dumps({"inputs": [tensor | {"data": values.tolist()}]}).encode(), {}
    raw = values.tobytes()
    text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    return text + raw, {b"inference-header-content-length": b"%d" % len(text)}


def of_type(kind: str, **more: str) -> dict[bytes, bytes]:
    return {b"content-type": kind.encode()} | {name.encode(): value.encode() for name, value in more.items()}


SENT: dict[str, tuple[str, Protocol, Any, Mapping[bytes, bytes]]] = {
    "split": ("scalars", INVOCATIONS, {"dataframe_split": SPLIT}, {}),
    "records": ("scalars", INVOCATIONS, {"dataframe_records": RECORDS}, {}),
    "columns": ("scalars", INVOCATIONS, {"inputs": {name: FRAME[name].tolist() for name in FRAME.columns[:6]}}, {}),
    "index": (
        "two-doubles",
        INVOCATIONS,
        {"dataframe_split": {"columns": ["a", "b"], "index": ["x"], "data": [[1, 2]]}},
        {},
    ),
    "null": ("optional", INVOCATIONS, {"dataframe_records": [{"id": 1, "double": None, "string": None}]}, {}),
    "csv": ("wine", INVOCATIONS, WINE.to_csv(index=False).encode(), of_type("text/csv")),
    "csv, no signature": ("free", INVOCATIONS, FRAME.to_csv(index=False).encode(), of_type("text/csv")),
    "parquet": ("scalars", INVOCATIONS, in_parquet(FRAME), of_type(PARQUET)),
    "parquet with an index": ("free", INVOCATIONS, in_parquet(FRAME, index=True), of_type(PARQUET)),
    "arrow": ("scalars", INVOCATIONS, arrow(FRAME), of_type(ARROW)),
    "arrow, no signature": ("free", INVOCATIONS, arrow(FRAME), of_type(ARROW)),
    "arrow in the answer": ("wine", INVOCATIONS, arrow(WINE), of_type(ARROW, accept=ARROW)),
    "nested": ("nested", INVOCATIONS, {"dataframe_records": [{"id": 1, "matrix": [[1, 2]], "person": PERSON}] * 9}, {}),
    "params": ("params", INVOCATIONS, {"inputs": [1, 2], "params": {"k": 5, "stop": ["y", "z"]}}, {}),
    "tensors": ("tensors", INVOCATIONS, {"inputs": TENSORS}, {}),
    "texts": ("texts", INVOCATIONS, {"inputs": ["a", "é"]}, {}),
    "type hint": ("hinted", INVOCATIONS, {"inputs": list(range(ROWS))}, {}),
    "chat": ("free", INVOCATIONS, {"messages": [{"role": "user", "content": "é\ud800"}], "stream": True}, {}),
    "names that come twice": ("free", INVOCATIONS, {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, {}),
    "v1": ("scalars", KSERVE_V1, {"instances": RECORDS}, {}),
    "v2": ("wine", OPEN_INFERENCE, *tensors(binary=False)),
    "v2, binary": ("wine", OPEN_INFERENCE, *tensors(binary=True)),
    "domino": ("scalars", DOMINO, {"data": {"dataframe_split": SPLIT}}, {}),
    "domino by position": ("two-doubles", DOMINO, {"parameters": [1.5, 2.5]}, {}),
    "a wrong cell": ("scalars", INVOCATIONS, {"dataframe_split": SPLIT | {"data": [[1] * 8, *SPLIT["data"]]}}, {}),
    "a wrong cell of arrow": ("wine", INVOCATIONS, arrow(WINE.astype(str)), of_type(ARROW)),
    "another media type": ("wine", INVOCATIONS, b"x", of_type("multipart/form-data; boundary=x")),
    "another model": ("wine", OPEN_INFERENCE, {"inputs": []}, {}),
    "no json": ("wine", INVOCATIONS, b'{"inputs": [NaN]}', {}),
    "too many levels": ("hinted", INVOCATIONS, b'{"inputs": %b}' % (b"[" * 5000 + b"]" * 5000), {}),
}  # fmt: skip  a line each


@contextmanager
def reader_for(model: Model, coerce: Coerce = Coerce.SAFE) -> Iterator[tuple[BodyReader, ServedModel]]:
    settings = read_settings({"--model-name": "m", "--coerce": coerce}, {}, cpus=1)
    served = describe_for_clients(model, settings, WarmUpResult(against_merging="not tried"), guarded=False)
    reader = BodyReader.start(served)
    try:
        yield reader, served
    finally:
        reader.end()


def outcome(read: Callable[[], Inputs]) -> Any:
    try:
        return read()
    except ServingError as error:
        return type(error), error.message, error.details, error.status


def compare(ours: Any, theirs: Any) -> None:
    """Fail unless two inputs of a model are the same to it."""
    assert type(ours) is type(theirs)
    match ours:
        case Matrix() | Blocks():
            compare(ours.frame, theirs.frame)
        case pd.DataFrame():
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        case np.ndarray():
            assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())
        case dict():
            assert list(ours) == list(theirs)
            for name, value in ours.items():
                compare(value, theirs[name])
        case _:
            assert ours == theirs


def in_time(call: Callable[[], Any]) -> Any:
    """Return its result, and fail if the other process hangs."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call).result(PATIENCE)
    finally:
        pool.shutdown(wait=False)


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("coerce", list(Coerce))
def test_inputs_are_those_of_this_process(sent: str, coerce: Coerce, model: Callable[[str], Model]) -> None:
    name, protocol, body, headers = SENT[sent]
    path = {"model": "other" if sent == "another model" else "m"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = Message(body=content, headers=headers, path=path)
    with reader_for(model(name), coerce) as (reader, served):
        ours = outcome(lambda: protocol.read(message, served))
        theirs = outcome(lambda: in_time(lambda: reader.read(protocol.read, message)))

    if isinstance(ours, Inputs):
        compare(ours.data, theirs.data)
        assert (ours.params, ours.rows, ours.stream) == (theirs.params, theirs.rows, theirs.stream)
        prediction = Prediction(value=np.ones(ours.rows or 1), seconds=0.0)
        assert len(ours.write(prediction, served).body) == len(theirs.write(prediction, served).body)
    else:
        assert ours == theirs


def test_model_whose_code_is_its_own_gets_what_this_process_reads(tmp_path: Path) -> None:
    """Its module is on the path of this process only since the model was loaded."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model_with_code.py").write_text(
        "class Doubled(list): pass\n"
        "class Model:\n"
        "    def predict(self, data, params=None): return Doubled(2 * data['x'])\n"
        "def _load_pyfunc(path): return Model()\n"
    )
    signature = '{inputs: \'[{"type": "double", "name": "x", "required": true}]\'}'
    (tmp_path / "MLmodel").write_text(
        "flavors: {python_function: {loader_module: model_with_code, code: code, python_version: 3.11.0}}\n"
        f"signature: {signature}\nmodel_uuid: x\nrun_id: null\nutc_time_created: '2026-01-01'\n"
    )
    model = load(tmp_path)
    message = Message(body=b'{"inputs": {"x": [1, 2]}}', headers={}, path={})
    with reader_for(model) as (reader, _):
        inputs = reader.read(INVOCATIONS.read, message)

    assert list(model.predict_conformed(inputs.data, inputs.params)) == [2.0, 4.0]


def test_libraries_with_threads_work_in_the_process_although_they_have_had_some_here(
    model: Callable[[str], Model],
) -> None:
    wide = pd.DataFrame({f"c{column}": np.arange(2000.0) for column in range(40)} | {"t": ["é"] * 2000, "double": 1.0})
    content = in_parquet(wide, index=True)
    pa.set_cpu_count(4)
    parquet.read_table(io.BytesIO(content)).to_pandas()  # pyarrow's threads
    np.ones((600, 600)) @ np.ones((600, 600))  # those of the linear algebra
    message = Message(body=content, headers=of_type(PARQUET), path={})
    with reader_for(model("free")) as (reader, served):
        theirs = in_time(lambda: reader.read(INVOCATIONS.read, message))

    compare(INVOCATIONS.read(message, served).data, theirs.data)


def test_reader_that_was_ended_is_gone(model: Callable[[str], Model]) -> None:
    with reader_for(model("one-double")) as (reader, _):
        assert not reader.ended
        pid = reader._pid
    reader.end()  # again

    assert reader.ended
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_thread_that_waits_for_a_reader_goes_on_when_it_is_ended(model: Callable[[str], Model]) -> None:
    message = Message(body=b'{"inputs": [1.5]}', headers={}, path={})
    with reader_for(model("one-double")) as (reader, _), ThreadPoolExecutor(1) as pool:
        os.kill(reader._pid, signal.SIGSTOP)
        waiting = pool.submit(reader.read, INVOCATIONS.read, message)
        reader.end()

        with pytest.raises(BodyReaderError, match="has ended"):
            waiting.result(PATIENCE)
