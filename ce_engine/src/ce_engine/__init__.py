"""PyTorch's cross-entropy losses with their gradients, computed analytically in the same pass, block by block.

    >>> import ce_engine, torch
    >>> result = ce_engine.cross_entropy(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2), grad=True)
    >>> result.loss
    tensor(0.4076)

Arguments and results are those of ``torch.nn.functional``; ``docs/numerics.md`` lists the promises. This package needs
neither gRPC nor protobuf.
"""

from importlib.metadata import PackageNotFoundError, version

from ce_engine import slabs
from ce_engine._batching.engine import Engine
from ce_engine._batching.in_flight import Launch
from ce_engine._errors import (
    DeadlineExceededError,
    DeviceLostError,
    EngineClosedError,
    EngineError,
    InvalidArgumentError,
    OutOfMemoryError,
    QueueFullError,
)
from ce_engine._heads.head import Head, Norm
from ce_engine._kernel_rows import RowResults
from ce_engine._memory import keep_memory, kept_memory
from ce_engine._needs.form import TensorForm
from ce_engine._needs.needed import MemoryNeeded, memory_needed
from ce_engine._reduction import Reduction
from ce_engine._result import LossResult, StackedResult, Tally
from ce_engine._slab import Slab
from ce_engine._slab_by_slab import PlannedSlabBySlab, SlabBySlab, TargetSums
from ce_engine._sums.exact import exact_sums, exact_sums_by_class
from ce_engine._sums.exact_sum import ExactSum, ExactSums
from ce_engine._sums.sketch import Sketch
from ce_engine._sums.tallies import tally
from ce_engine.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    evaluate,
    evaluate_stacked,
    kl_divergence,
    linear_cross_entropy,
    nll_loss,
)

__all__ = [
    "DeadlineExceededError",
    "DeviceLostError",
    "Engine",
    "EngineClosedError",
    "EngineError",
    "ExactSum",
    "ExactSums",
    "Head",
    "InvalidArgumentError",
    "Launch",
    "LossResult",
    "MemoryNeeded",
    "Norm",
    "OutOfMemoryError",
    "PlannedSlabBySlab",
    "QueueFullError",
    "Reduction",
    "RowResults",
    "Sketch",
    "Slab",
    "SlabBySlab",
    "StackedResult",
    "Tally",
    "TargetSums",
    "TensorForm",
    "__version__",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "evaluate",
    "evaluate_stacked",
    "exact_sums",
    "exact_sums_by_class",
    "keep_memory",
    "kept_memory",
    "kl_divergence",
    "linear_cross_entropy",
    "memory_needed",
    "nll_loss",
    "slabs",
    "tally",
]

try:
    __version__ = version("ce-engine")
except PackageNotFoundError:  # run from the source tree
    __version__ = "0+unknown"
