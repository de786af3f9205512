"""Domino's model APIs, over either of its two HTTP APIs."""
