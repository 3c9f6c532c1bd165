"""Forms: dtypes and shapes of tensors that need not be there yet."""

import math
from collections.abc import Collection
from typing import NamedTuple

import torch

from ce_engine._heads.head import Head
from ce_engine._kernel_rows import CLASSES_LAST, ELEMENTWISE


class TensorForm(NamedTuple):
    """The form of a tensor, for `memory_needed`.

    Attributes:
        dtype: Of its elements.
        shape: As of a tensor. Any sizes will do: nothing is allocated.
        is_contiguous: Whether its elements lie in row-major order, as those of messages do.
        is_neg: Whether it is a view of negated numbers, as ``Tensor.is_neg``.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    is_contiguous: bool = True
    is_neg: bool = False

    @property
    def element_count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.element_count * self.dtype.itemsize


class Form(NamedTuple):
    """The form of an evaluation: the arguments of a function in ``ce_engine.slabs``, without what takes no memory.

    Attributes:
        exact: Of the slab.
    """

    loss: str
    input: TensorForm
    target: TensorForm
    head: Head | None = None
    target_head: Head | None = None
    target_classes: TensorForm | None = None
    labels: TensorForm | None = None
    weight: TensorForm | str | None = None
    sample_weight: TensorForm | None = None
    pos_weight: TensorForm | None = None
    grad_output: TensorForm | None = None
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    reduction: str = "mean"
    grad: bool = False
    grad_dtype: torch.dtype | None = None
    outputs: Collection[str] = ()
    top_k: int = 0
    exact: str = ""

    @property
    def compute_dtype(self) -> torch.dtype:
        return torch.promote_types(self.input.dtype, torch.float32)

    @property
    def compute_bytes(self) -> int:
        return self.compute_dtype.itemsize

    @property
    def is_elementwise(self) -> bool:
        return self.loss in ELEMENTWISE

    @property
    def has_classes_last(self) -> bool:
        """Whether rows lie along the input's last dimension."""
        return self.loss in CLASSES_LAST

    @property
    def is_divergence(self) -> bool:
        return self.loss == "kl_divergence"

    @property
    def has_classes(self) -> bool:
        """Whether targets are class indices."""
        return not self.is_elementwise and not self.target.dtype.is_floating_point

    @property
    def class_count(self) -> int:
        shape = self.input.shape
        if self.head is not None:
            return self.head.class_count
        if self.has_classes_last:
            return shape[-1]
        return 1 if self.is_elementwise else shape[1 if len(shape) > 1 else 0]

    @property
    def number_count(self) -> int:
        """Numbers of outputs with one for each class, or element of a binary loss."""
        return self.input.element_count if self.head is None else self.row_count * self.class_count

    @property
    def positions(self) -> int:
        """Rows of each sample; (N, C) is one sample."""
        shape = self.input.shape
        if self.is_elementwise:
            return self.input.element_count
        if self.has_classes_last:
            return self.row_count
        return math.prod(shape[2:]) if len(shape) > 2 else math.prod(shape[:-1])

    @property
    def row_count(self) -> int:
        shape = self.input.shape
        if self.has_classes_last:
            return math.prod(shape[:-1])
        return (
            self.input.element_count
            if self.is_elementwise
            else math.prod((*shape[:1], *shape[2:]))
            if len(shape) > 1
            else 1
        )
