"""Conversion of a request's input to the model's signature: requests, tables, cells, tensors, parameters."""
