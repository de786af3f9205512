"""Encodes requests and reads answers with MLServer's codecs: `python ask_as_mlserver.py <port> <port of the echo>`,
answers as JSON.
"""

import json
import sys
import urllib.request

import numpy as np
import pandas as pd
from mlserver.codecs import NumpyRequestCodec, PandasCodec, StringRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse

FRAME = pd.DataFrame({"fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2], "alcohol": [9.4, 10.1]})


def ask(port: str, request: InferenceRequest) -> InferenceResponse:
    body = request.model_dump_json(exclude_none=True).encode()
    url = f"http://127.0.0.1:{port}/v2/models/wine/infer"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        return InferenceResponse.model_validate_json(answer.read())


def chosen(expression: str) -> InferenceResponse:
    return ask(
        sys.argv[2],
        PandasCodec.encode_request(pd.DataFrame({"expression": [expression]}, dtype=object), use_bytes=False),
    )


answers = {
    "frame": (
        NumpyRequestCodec.decode_response(ask(sys.argv[1], PandasCodec.encode_request(FRAME, use_bytes=False))).tolist()
    ),
    "array": (
        NumpyRequestCodec.decode_response(ask(sys.argv[1], NumpyRequestCodec.encode_request(FRAME.to_numpy()))).tolist()
    ),
    "texts": StringRequestCodec.decode_response(chosen("['a', 'b']")),
    "tensor": np.asarray(NumpyRequestCodec.decode_response(chosen("np.array([[1, 2], [3, 4]])"))).tolist(),
    "columns": (
        PandasCodec.decode_response(chosen("pd.DataFrame({'n': [1.5, None], 's': ['x', 'y'], 'o': [{'a': 1}, [2]]})"))
        .astype(object)
        .where(lambda frame: frame.notna(), None)
        .to_dict(orient="list")
    ),
}
print(json.dumps(answers))  # noqa: T201  the answer of this script
