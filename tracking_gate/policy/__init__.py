"""The decision about a request: the table of routes, the guarded operations, and the checks of owners.

May import `mlflow_api`, `http`, `actors` and `errors`. Nothing here forwards a request, writes the audit log or counts.
"""
