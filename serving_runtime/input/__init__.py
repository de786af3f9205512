"""Conversion of a request's input to the model's signature: requests, tables, cells, tensors, parameters.

`conform_plan` is the fast path for tables of scalars; `conform` handles everything else, and finds every fault.
`columns` decides about a column as a whole, such as one that is absent or null, `cells` about its values. `merging`
joins the inputs of several requests.
"""
