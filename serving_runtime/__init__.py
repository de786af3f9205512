"""Loads one MLflow model and answers with its predictions: as a function in a Domino `model.py`, or as a server."""
