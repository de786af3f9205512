"""Open Inference Protocol V2 over REST, with the binary tensor extension both ways.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""
