"""A whole one-node Kubernetes on this machine, without Docker.

It has API server, controllers, scheduler, kubelet, containerd, kube-proxy and DNS. `python -m testbed.cluster up`
starts it in a network namespace of its own; `down` removes what it made, and nothing else.
"""
