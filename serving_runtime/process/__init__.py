"""The processes of `model-api-runtime serve`: the supervisor, its workers, and those that run for a short time.

The supervisor loads the model and forks, so that its workers share the model's memory (`preload`).

This package is the top layer of the server and may import every other one. What one request needs does not belong here.
`serve` loads `supervisor`, and with it gunicorn, pandas and the model, once the placeholder server answers.
"""
