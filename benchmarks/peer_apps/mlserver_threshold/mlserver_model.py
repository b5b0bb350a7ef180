"""A threshold on MLServer: FP32 in, a mask of bytes out, by its own codec for numpy."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Threshold(MLModel):
    """Voxels above 0, as the gateway's model answers them."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        values = NumpyCodec.decode_input(payload.inputs[0])
        mask = (values > 0).view(np.uint8)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("mask", mask)])
