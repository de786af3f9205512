"""Real parts to test the project with: MLflow servers, certificates, processes, a cluster. Not distributed.

Tests, demo and benchmarks import it; it may import every package of the project, and none of them imports it.
"""
