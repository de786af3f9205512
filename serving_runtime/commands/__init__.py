"""What `model-api-runtime` does besides serving: one module for each command, and what they share."""
