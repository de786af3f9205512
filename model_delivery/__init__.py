"""Brings the files of one model version to a store. Standard library only: it runs as an init container in every model
pod.
"""
