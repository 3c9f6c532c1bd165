"""The model for Triton's Python backend, which imports it: PyTorch's loss, on the memory that Triton hands over.

With batching, one item of Triton's batch is one whole evaluation: its tensors have one dimension more, of length 1.
"""

import os
import sys
from typing import Any

sys.path.append(os.environ["SITE_PACKAGES"])  # the backend's interpreter knows nothing of environments

import torch
import triton_python_backend_utils as pb_utils
from torch.nn import functional as F
from torch.utils.dlpack import from_dlpack


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [pb_utils.InferenceResponse(_outputs(request)) for request in requests]


def _outputs(request: Any) -> list[Any]:
    logits, target = (from_dlpack(pb_utils.get_input_tensor_by_name(request, name)) for name in ("logits", "target"))
    grad = "gradient" in request.requested_output_names()
    loss = F.cross_entropy(logits.requires_grad_(grad).flatten(0, -2), target.flatten())
    outputs = [_output("loss", loss.detach().float().reshape(*logits.shape[:-2], 1))]
    return [*outputs, _output("gradient", *torch.autograd.grad(loss, logits))] if grad else outputs


def _output(name: str, tensor: torch.Tensor) -> Any:
    return pb_utils.Tensor.from_dlpack(name, tensor)
