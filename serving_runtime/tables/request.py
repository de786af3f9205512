"""A record batch as a request to the model."""

import pyarrow as pa

from serving_runtime.input.forms import Request
from serving_runtime.signature import Signature
from serving_runtime.tables.arrow_tables import as_table

PATH = "table"


def table_request(batch: pa.RecordBatch, signature: Signature) -> Request:
    """Return the request for a prediction of each row."""
    return Request(input=as_table(batch, signature, path=PATH, place=lambda name, row: f'{PATH}[{row}]["{name}"]'))
