"""HTTP alone: connections of clients, bodies, strict parsing, addresses, and limits on requests.

May import `errors` and `metrics`. What a request means for MLflow, and who may send it, does not belong here.
"""
