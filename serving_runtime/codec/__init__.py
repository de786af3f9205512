"""Reading of JSON, CSV and Parquet bodies by their media type, and writing of predictions as JSON."""
