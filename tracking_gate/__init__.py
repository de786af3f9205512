"""A proxy in front of MLflow that decides about each request before MLflow sees the request.

`server` runs the process, `gate` handles one request, `policy` holds the tables and the rules, `mlflow_api` talks to
MLflow, `authentication` finds the caller, and `http` holds what concerns HTTP alone. `secret_directory` reads the
tokens, `audit` writes the audit log, and `replicas` lets several gates share the work. The package imports
`model_contract` and no other app, neither MLflow's library nor a Kubernetes client.
"""
