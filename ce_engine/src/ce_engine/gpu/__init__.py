"""The losses on a GPU, by Triton kernels: `evaluate` for tensors that are there, `Pipeline` for those on the host.

Not imported by ``ce_engine``, which needs neither a GPU nor Triton. PyTorch's CUDA builds bring Triton along.
"""

from ce_engine.gpu._evaluate import evaluate
from ce_engine.gpu._pipeline import Pipeline, Ticket
from ce_engine.gpu._streams import CudaDevice

__all__ = ["CudaDevice", "Pipeline", "Ticket", "evaluate"]
