"""The delivery: downloads the files of one model version into a store, or verifies that they are there.

`fetch` is what the init container runs, `storage` the same for KServe, `verify` the check of a shared claim, `sync`
what fills that claim. `transfer` receives files, `store` writes and publishes them. `artifact_paths` checks the names
that a server sends, `errors` has a class for each exit code. The package runs as an init container in every model pod,
so it imports `model_contract` and the standard library only. A decision about pods belongs into `webhook`, and the
loading of a model into `serving_runtime`.
"""
