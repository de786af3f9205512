"""The mutating admission webhook: it gives a model API pod an init container and a mount that bring its MLflow model.

`admission` decides about one pod as a pure function of the review and the settings: `selection` has the rules about
which pods are looked at, `targets` those about their variables, and `reasons` every answer with its code. `mutation`
writes the JSON Patch. `server` answers the API server, `commands` make the same decision on files. The package imports
`model_contract` and no other app, and never MLflow. Fetching files belongs to `model_delivery`, serving them to
`serving_runtime`.
"""
