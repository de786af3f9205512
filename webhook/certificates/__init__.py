"""Self-managed certificates: the webhook issues, renews and registers them without cert-manager and without an outage.

`state` decides the next step as a pure function of the Secret; `cluster` reads and writes the Secret and the
registration; `reconciler` runs in every pod of the webhook. The package imports `model_contract` and nothing else of
this project. Serving the certificate belongs to `server.tls`.
"""
