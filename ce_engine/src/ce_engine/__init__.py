"""PyTorch's cross-entropy losses with their gradients, computed analytically in the same pass, block by block.

    >>> import ce_engine, torch
    >>> result = ce_engine.cross_entropy(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2), grad=True)
    >>> result.loss
    tensor(0.4076)

The arguments are those of ``torch.nn.functional``, and so are the results; ``docs/numerics.md`` lists the promises.
Nothing here knows of gRPC or protobuf.
"""

from importlib.metadata import version

from ce_engine._cross_entropy import cross_entropy
from ce_engine._errors import InvalidArgumentError
from ce_engine._result import LossResult

__all__ = ["InvalidArgumentError", "LossResult", "__version__", "cross_entropy"]

__version__ = version("ce-engine")
