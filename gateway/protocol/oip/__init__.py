"""The Open Inference Protocol v2 (docs/oip.md): tensors and JSON <-> requests and results. No HTTP here.

The protocol: https://github.com/kserve/open-inference-protocol; the binary tensor extension:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""
