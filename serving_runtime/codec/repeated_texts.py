"""Sizes of texts that views and dictionaries of Arrow name again and again. Imported only if pyarrow is installed."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving_runtime.codec.decompressed_size import CELL

VIEW_LENGTHS: Final = 4  # numbers of 32 bits in a view, the first of which is the text's length


def is_text(kind: pa.DataType) -> bool:
    """Return True for texts and bytes."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _is_view(kind)
    )


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def repeated(column: pa.Array) -> int:
    """Return the bytes of the texts that views and dictionaries name, each as often as it is named."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return repeated(column.storage)
    if pa.types.is_dictionary(kind):
        named = column.indices.drop_null().to_numpy(zero_copy_only=False)
        return int(_lengths(column.dictionary)[named].sum()) if len(named) else 0
    if _is_view(kind):
        return int(_lengths(column).sum())
    if pa.types.is_map(kind):
        return repeated(column.keys) + repeated(column.items)
    if pa.types.is_nested(kind):
        inner = column.flatten()
        return sum(map(repeated, inner)) if isinstance(inner, list) else repeated(inner)
    return 0


def _lengths(column: pa.Array) -> Any:
    """Return the bytes of each value."""
    if _is_view(column.type):
        views = np.frombuffer(column.buffers()[1] or b"", "<i4")[::VIEW_LENGTHS]
        return views[column.offset : column.offset + len(column)].astype(np.int64)
    if is_text(column.type):
        return pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.full(len(column), CELL)
