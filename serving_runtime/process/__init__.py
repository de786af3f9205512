"""The processes of `model-api-runtime serve`: the supervisor, its workers, and those that run beside them for a while.

This package is the top layer of the server and may import every other one. What one request needs does not belong here.
`serve` loads `supervisor`, and with it gunicorn, pandas and the model, once the placeholder server answers.
"""
