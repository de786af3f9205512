"""The server's view of itself: metrics over all workers, one log line per request, and recorded predictions.

This package imports http, the protocols and the model's input. It decides nothing about a request. Only
`capture_records` needs pandas.
"""
