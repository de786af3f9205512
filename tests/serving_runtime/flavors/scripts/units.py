"""Logged beside a model, as code of its own."""


def celsius(fahrenheit: float) -> float:
    return (fahrenheit - 32.0) / 1.8
