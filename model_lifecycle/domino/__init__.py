"""Domino's model APIs, over its public HTTP API or the older one.

`model_apis` is the interface of both, `choice` takes the one that this Domino has. This package knows neither
MLflow nor a step of staging.
"""
