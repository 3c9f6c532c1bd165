"""What a launch reads in addition to the input: columns of a number a row, and numbers that all rows share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ce_engine._kernel_rows import Kind, Rows

COLUMNS = Rows._fields


@dataclass(frozen=True, eq=False)
class Operands:
    """All that a launch reads, on its device.

    Attributes:
        x: (R, C), contiguous.
        target: As x, of the kind's target dtype.
        rows: Contiguous; a scale that is the same for all rows is (1).
        keep: (1), 1 - e with label smoothing e.
        smooth: (C), or (1) if it is the same for all classes: w_c e / C.
        class_weight: (C), for probability targets.
        z_loss: (1), the factor of the square of the log-sum-exp.
    """

    x: Tensor
    target: Tensor | None
    rows: Rows
    keep: Tensor | None
    smooth: Tensor | None
    class_weight: Tensor | None
    z_loss: Tensor | None

    @classmethod
    def of(cls, x: Tensor, target: Tensor | None, numbers: Mapping[str, Tensor]) -> Self:
        """From numbers named as `columns` and `shared_numbers` name them."""
        get = numbers.get
        rows = Rows(*(get(name) for name in COLUMNS))
        return cls(x, target, rows, get("keep"), get("smooth"), get("class_weight"), get("z_loss"))


def columns(all_rows: Sequence[Rows], counts: Sequence[int]) -> dict[str, Tensor]:
    """The columns that any of the rows have, each with the rows one behind the other."""
    found = {name: column(name, all_rows, counts) for name in COLUMNS}
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def column(name: str, all_rows: Sequence[Rows], counts: Sequence[int]) -> Tensor | None:
    parts: list[Tensor | None] = [getattr(rows, name) for rows in all_rows]
    given = next((part for part in parts if part is not None), None)
    if given is None:
        return None
    if len(parts) == 1:
        return given[:1] if name == "scale" and given.stride() == (0,) else given
    neutral = given.new_zeros(()) if given.dtype is torch.bool else given.new_ones(())  # not ignored; weight 1
    return torch.cat(
        [neutral.expand(count) if part is None else part for part, count in zip(parts, counts, strict=True)]
    )


def shared_numbers(kind: Kind) -> dict[str, Tensor]:
    """The numbers that all rows of the kind share, on the host and of the dtype that is computed in."""
    dtype = kind.compute_dtype
    weight = None if kind.class_weight is None else kind.class_weight.tensor.cpu()
    numbers = {}
    if weight is not None and kind.target_dtype is not None:
        numbers["class_weight"] = weight.to(dtype)
    if kind.label_smoothing:
        spread = torch.ones(1, dtype=torch.float64, device="cpu") if weight is None else weight.to(torch.float64)
        numbers["keep"] = torch.tensor([1 - kind.label_smoothing], dtype=dtype, device="cpu")
        numbers["smooth"] = (spread * kind.label_smoothing / kind.class_count).to(dtype)
    if kind.z_loss:
        numbers["z_loss"] = torch.tensor([kind.z_loss], dtype=dtype, device="cpu")
    return numbers
