"""The gate in front of MLflow: who may do what, decided before MLflow hears of it."""
