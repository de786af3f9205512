"""Requests of an attacker to the runtime's server and to the gate, as the bytes that are sent."""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.runtime_predictions import COLUMNS
from model_contract.tokens import Purpose
from serving_runtime.codec.decompressed_size import FREE_GROWTH, decompressed_limit
from testbed.gate import API, Gate

MEGABYTE: Final = 1_000_000
JSON: Final = "application/json"
V2: Final = "/v2/models/model/infer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A request as the bytes that are sent. A compressed one is judged by its largest decompressed size."""

    name: str
    sent: bytes
    compressed: bool = False

    @property
    def size(self) -> int:
        return decompressed_limit(len(self.sent)) if self.compressed else len(self.sent)


def request(method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request whose answer ends the connection."""
    own = {"Host": "127.0.0.1", "Connection": "close"} | (
        {"Content-Length": str(len(body))} if body is not None else {}
    )
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**own, **(headers or {})}.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


def post(path: str, body: bytes, media_type: str = JSON, **headers: str) -> bytes:
    return request(
        "POST",
        path,
        body,
        {"Content-Type": media_type} | {name.replace("_", "-"): value for name, value in headers.items()},
    )


def in_single_bytes(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    head = {
        "Host": "127.0.0.1",
        "Connection": "close",
        "Content-Type": JSON,
        "Transfer-Encoding": "chunked",
        **(headers or {}),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + chunks + b"0\r\n\r\n"


def of_runtime(size: int) -> Iterator[Attack]:
    """Yield the requests to the runtime; bodies are of `size` bytes, more or less."""
    many = size // 12
    names = [f"c{number:07}" for number in range(many)]
    for title, zeros in ((f"{size * 16 // MEGABYTE} MB", size * 8), ("1 MB", FREE_GROWTH // 2 - 20)):
        body = gzip.compress(b'{"inputs": [' + b"0," * zeros + b"0]}", 9)
        yield Attack(
            name=f"gzip of {title} of zeros", sent=post("/invocations", body, Content_Encoding="gzip"), compressed=True
        )
    mixed = gzip.compress(b'{"inputs": [' + b",".join(b"%d" % (n % 997) for n in range(size * 2)) + b"]}", 9)
    yield Attack(
        name="gzip of equal thousands", sent=post("/invocations", mixed, Content_Encoding="gzip"), compressed=True
    )
    yield Attack(
        name="gzip of spaces",
        sent=post("/invocations", gzip.compress(b" " * size * 24, 9), Content_Encoding="gzip"),
        compressed=True,
    )
    yield Attack(
        name="gzip of empty members",
        sent=post("/invocations", gzip.compress(b"") * (size // 20), Content_Encoding="gzip"),
        compressed=True,
    )
    for columns, rows in ((1, 20_000_000), (50, 1_000_000), (20_000, 10)):
        title = f"Parquet, {columns:,} columns of {rows:,} equal cells"
        yield Attack(
            name=title,
            sent=post("/invocations", parquet(columns, rows), "application/vnd.apache.parquet"),
            compressed=True,
        )
    csv = (",".join(names) + "\n" + ",".join("1" * many)).encode()
    yield Attack(name=f"CSV of {many:,} columns", sent=post("/invocations", csv, "text/csv"))
    csv = ("\n".join(["a"] + ["1"] * (size // 2))).encode()
    yield Attack(name="CSV of one short column", sent=post("/invocations", csv, "text/csv"))
    split = {"dataframe_split": {"columns": names, "data": [[1] * many]}}
    yield Attack(name=f"dataframe_split of {many:,} columns", sent=post("/invocations", _json(split)))
    split = {"dataframe_split": {"columns": names, "data": []}}
    yield Attack(name=f"dataframe_split of {many:,} columns, no row", sent=post("/invocations", _json(split)))
    split = {"dataframe_split": {"columns": list(COLUMNS), "data": [[]] * (size // 3)}}
    yield Attack(name="dataframe_split of empty rows", sent=post("/invocations", _json(split)))
    yield Attack(
        name=f"dataframe_records of {many:,} columns",
        sent=post("/invocations", _json({"dataframe_records": [dict.fromkeys(names, 1)]})),
    )
    yield Attack(
        name="dataframe_records of empty rows",
        sent=post("/invocations", _json({"dataframe_records": [{}] * (size // 3)})),
    )
    different = [{name: 1} for name in names[:3_000]] + [{}] * (size // 4)
    yield Attack(
        name="dataframe_records without common keys", sent=post("/invocations", _json({"dataframe_records": different}))
    )
    yield Attack(name="instances of texts", sent=post("/invocations", _json({"instances": [""] * (size // 3)})))
    yield from _tensors(size)
    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    lists = b"[" * 500 + b"]" * 500
    for path, before in (
        ("/invocations", b'{"inputs": '),
        ("/v1/models/model:predict", b'{"instances": '),
        (V2, b'{"inputs": '),
        ("/model", b'{"data": '),
    ):
        yield Attack(name=f"{path}: brackets only", sent=post(path, before + b"[" * size))
        yield Attack(
            name=f"{path}: lists of 500 levels",
            sent=post(path, before + b"[" + b",".join([lists] * (size // 1000)) + b"]}"),
        )
        yield Attack(
            name=f"{path}: objects of 400 levels",
            sent=post(path, before + b"[" + b",".join([deep] * (size // 2400)) + b"]}"),
        )
    yield Attack(name="one number of so many digits", sent=post("/invocations", b'{"inputs": ' + b"9" * size + b"}"))
    yield Attack(
        name="numbers of 4,200 digits",
        sent=post("/invocations", b'{"inputs": [' + b",".join([b"9" * 4200] * (size // 4200)) + b"]}"),
    )
    yield Attack(
        name="fractions of 4,200 digits",
        sent=post(
            "/invocations", b'{"inputs": [' + b",".join([b"0." + b"9" * 4200 + b"e-300"] * (size // 4200)) + b"]}"
        ),
    )
    yield Attack(
        name="chunks of one byte", sent=in_single_bytes("/invocations", b'{"inputs": [' + b"1," * (size // 12) + b"1]}")
    )
    yield from _of_http("/invocations", "/ping", size)


def _tensors(size: int) -> Iterator[Attack]:
    def infer(*tensors: object) -> bytes:
        return post(V2, _json({"inputs": list(tensors)}))

    head = {"name": "x", "datatype": "FP64"}
    yield Attack(name="V2, a huge shape", sent=infer({**head, "shape": [1 << 40, 1 << 40], "data": [1] * (size // 2)}))
    yield Attack(name="V2, a shape of no values", sent=infer({**head, "shape": [0, 1 << 49], "data": []}))
    yield Attack(name="V2, a shape of so many lengths", sent=infer({**head, "shape": [1] * (size // 2), "data": [1]}))
    yield Attack(
        name="V2, so many tensors",
        sent=infer(*({"name": str(n), "datatype": "FP64", "shape": [1], "data": [1]} for n in range(size // 55))),
    )
    yield Attack(name="V2, data of empty lists", sent=infer({**head, "shape": [1, 1], "data": [[]] * (size // 3)}))
    for datatype, tail in (("FP64", bytes(8)), ("BYTES", bytes(size))):
        shape = [1 << 40] if datatype == "FP64" else [size // 4, 1]
        text = _json(
            {
                "inputs": [
                    {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(tail)}}
                ]
            }
        )
        yield Attack(
            name=f"V2, {datatype} behind the JSON, shape {shape}",
            sent=post(V2, text + tail, "application/octet-stream", Inference_Header_Content_Length=str(len(text))),
        )


def _of_http(body_path: str, path: str, size: int) -> Iterator[Attack]:
    one = request("GET", path).replace(b"Connection: close\r\n", b"")
    yield Attack(name="10,000 pipelined requests", sent=one * 9_999 + request("GET", path))
    yield Attack(name="a million short headers", sent=request("GET", path)[:-2] + b"a: b\r\n" * 1_000_000 + b"\r\n")
    yield Attack(name="60 kB of short headers", sent=request("GET", path)[:-2] + b"a:b\r\n" * 12_000 + b"\r\n")
    yield Attack(name="one long header", sent=request("GET", path, headers={"X-Long": "a" * size}))
    yield Attack(
        name="Accept-Encoding of many parts",
        sent=request("GET", path, headers={"Accept-Encoding": "gzip;q=0.1," * 5_000}),
    )
    yield Attack(
        name="Accept of many parts",
        sent=request("POST", body_path, b"{}", {"Accept": "a/b;q=0.1," * 5_000, "Content-Type": JSON}),
    )
    yield Attack(
        name="Content-Type of many parts",
        sent=request("POST", body_path, b"{}", {"Content-Type": "text/csv;a=b" * 4_000}),
    )


def of_gate(found: Gate, size: int) -> Iterator[Attack]:
    """Yield the requests to the gate: those that carry a body are of a token that may make the change."""
    promote = found.bearer(Purpose.PROMOTE)
    move = f"{API}/model-versions/transition-stage"

    def moved(body: bytes) -> bytes:
        return request("POST", move, body, {"Content-Type": JSON, **promote})

    for title, path in (
        ("a path of 60 kB", "/a" * 30_000),
        ("a path of escapes", "/%2e" * 15_000),
        ("a path of slashes", "/" * 60_000),
        ("a huge path", "/a" * (size // 2)),
    ):
        yield Attack(name=title, sent=request("GET", path, headers=promote))
    yield Attack(
        name="a query of 60 kB",
        sent=request("GET", f"{API}/registered-models/get?" + "name=a&" * 8_500, headers=promote),
    )
    yield Attack(
        name="an artifact path of 60 kB",
        sent=request("GET", "/api/2.0/mlflow-artifacts/artifacts" + "/%61" * 7_000, headers=promote),
    )
    yield Attack(
        name="Authorization of 60 kB", sent=request("GET", move, headers={"Authorization": "Basic " + "YTph" * 15_000})
    )
    kinds = {
        "brackets only": b"[" * size,
        "lists of 900 levels": b'{"name": [' + b",".join([b"[" * 900 + b"]" * 900] * (size // 1800)) + b"]}",
        "so many keys": _json({f"c{number:07}": 1 for number in range(size // 14)}),
        "one key again and again": b"{" + b'"a":1,' * (size // 6) + b'"a":1}',
        "one number of so many digits": b'{"version": ' + b"9" * size + b"}",
        "numbers of 4,200 digits": b'{"version": [' + b",".join([b"9" * 4200] * (size // 4200)) + b"]}",
        "a long name": _json({"name": "a" * size, "version": "1", "stage": "Production"}),
    }
    for title, body in kinds.items():
        yield Attack(name=f"guarded: {title}", sent=moved(body))
        small = body[:900_000]
        if len(body) > len(small):
            yield Attack(name=f"guarded, cut at 0.9 MB: {title}", sent=moved(small))
    yield Attack(
        name="guarded: so many keys, 0.9 MB", sent=moved(_json({f"c{number:07}": 1 for number in range(60_000)}))
    )
    yield Attack(
        name="guarded: chunks of one byte",
        sent=in_single_bytes(move, b'{"name": "' + b"a" * (size // 6) + b'"}', promote),
    )
    yield from _of_http(move, "/livez", size)


def parquet(columns: int, rows: int) -> bytes:
    cells = pa.array([0], pa.int64()).take(pa.nulls(rows, pa.int32()).fill_null(0))
    written = io.BytesIO()
    pq.write_table(
        pa.table({f"c{number}": cells for number in range(columns)}), written, compression="zstd", row_group_size=rows
    )
    return written.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
