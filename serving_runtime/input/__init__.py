"""The input of a request becomes what the model's signature says: forms, tables, cells, tensors, parameters."""
