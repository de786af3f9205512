"""The HTTPS server that answers the API server: connections, TLS, metrics, and gunicorn around them.

The package imports `admission` and `review` for the decision, and `certificates` if the webhook manages its own. Rules
about pods do not belong here.
"""
