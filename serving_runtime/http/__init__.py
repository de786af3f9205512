"""HTTP without a model: the head and the body of a request, routes, answers, errors, and uvicorn around them.

This package imports the protocols, openapi and page; what needs pandas comes through `lazy.py`. Predictions, metrics
and the life of processes do not belong here.
"""
