"""gRPC: the Open Inference Protocol, health and reflection, in the event loop of a worker that serves HTTP too.

Requests go through the same handler as those of HTTP, so no rule about an input, a batch or a refusal belongs here.
Only a worker imports this package, after its fork and if gRPC is on: grpcio's threads do not survive a fork.
"""
