"""actionlint, from its Go module."""
