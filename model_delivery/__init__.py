"""The delivery: downloads the files of one model version into a store, or verifies that they are there.

It runs as an init container in every model pod, so it imports `model_contract` and the standard library only. A
decision about pods belongs into `webhook`, and the loading of a model into `serving_runtime`.
"""
