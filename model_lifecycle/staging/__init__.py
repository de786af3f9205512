"""Staging: deploy a registered version in Domino, call it once, and mark it in MLflow. Each step can be repeated.

This package may import the registry, Domino and the modules below them, never promotion, tokens or a command.
"""
