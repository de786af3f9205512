"""The API of one model as an OpenAPI 3.1 document: its columns, its parameters, its own example."""
