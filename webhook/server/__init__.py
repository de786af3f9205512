"""The webhook as a server: HTTPS for the API server, metrics beside it, one line of log per review."""
