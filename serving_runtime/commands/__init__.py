"""The commands of `model-api-runtime`, a module for each: `check manifest openapi predict replay serve`.

The other modules are parts of these. Of `predict`: `sources` finds the files, on this machine or in a store (`places`);
`rows` reads their rows in chunks, with `json_rows`, `parquet_rows`, `arrow_rows` and `compressed`; `score` predicts a
chunk and `writers` write the result. `parts` and `part_record` make a directory of predictions, which a killed command
continues; `partitions` are columns in the names of directories, `kept_columns` are written with the predictions, and
`standard_streams` are what the shell gives. `engine`, `on_spark` and `on_ray` score with an engine. `recorded_table` is
for `replay`, `findings` for `check`.
"""
