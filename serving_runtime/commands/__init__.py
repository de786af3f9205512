"""The commands of `model-api-runtime`, a module for each: `check manifest openapi predict replay serve`.

The other modules are parts of these. Those of `predict`, in the order of its work:

- `predict_arguments` are its options;
- `delivered_model` fetches a registered model, `sources` finds the files, on this machine or in a store (`places`), and
  `versioned_tables` refuses directories of Delta, Hudi and Iceberg; `standard_streams` are what the shell gives;
- `rows` reads rows in chunks (`chunk`), with `json_rows`, `parquet_rows`, `arrow_rows` and `compressed`; `partitions`
  and `partition_columns` add the columns in the names of directories, `kept_columns` those beside the predictions;
- `score_file` takes the chunks of one file to `score`, which predicts one, and to `writers`; `report` shows progress
  and result;
- `parts` and `part_record` make a directory of predictions, which a command goes on with after a kill;
- `engine`, `on_spark` and `on_ray` score with an engine instead.

`recorded_table` is for `replay`, `findings` for `check`, `cli_errors` for all.
"""
