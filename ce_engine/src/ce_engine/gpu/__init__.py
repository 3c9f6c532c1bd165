"""The losses on a GPU, by Triton kernels: `evaluate` for tensors on the GPU, `Pipeline` for tensors on the host.

Not imported by ``ce_engine``, which needs neither a GPU nor Triton. PyTorch's CUDA builds include Triton.
"""

from ce_engine.gpu._evaluate import evaluate
from ce_engine.gpu._pipeline import Pipeline, Ticket
from ce_engine.gpu._streams import CudaDevice

__all__ = ["CudaDevice", "Pipeline", "Ticket", "evaluate"]
