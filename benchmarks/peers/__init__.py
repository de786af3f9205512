"""The same model behind other servers, each as a team that uses it would write it. They run in environments of their
own.
"""
