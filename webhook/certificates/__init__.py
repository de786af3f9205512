"""Certificates that the webhook keeps by itself: issued, renewed and registered without cert-manager and without an
outage.
"""
