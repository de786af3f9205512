"""Self-managed certificates: the webhook issues, renews and registers them without cert-manager and without an outage.

`issuance` makes certificates and says how long they are valid. `state` decides the next step, such as a renewal, as a
pure function of the Secret. `cluster` reads and writes the Secret and the registration; `reconciler` runs in every pod
of the webhook; `rotation` is what `certs rotate` does. The package imports `model_contract` and nothing else of this
project. Serving the certificate belongs to `server.tls`.
"""
