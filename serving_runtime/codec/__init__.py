"""Bytes on the wire: JSON, CSV, Parquet and the media type that says which; predictions as JSON."""
