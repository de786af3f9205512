"""Predictions on behalf of requests: batches, streams, the warm-up of a model, and the comparison of two models.

This package imports http, observability, protocols and the model. The routes, the probes and the life of processes do
not belong here. `worker_context` and `streaming` need no pandas; the other modules are imported once a model loads.
"""
