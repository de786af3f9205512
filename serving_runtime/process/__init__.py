"""The runtime as a server: one ASGI callable that answers for the model, and the processes that run it."""
