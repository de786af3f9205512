"""The commands of `model-api-runtime`, one module each, and the parts that several of them use."""
