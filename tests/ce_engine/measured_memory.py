"""Evaluates in a process of its own, and compares what each case takes with what `memory_needed` says.

Run as ``python -m tests.ce_engine.measured_memory KERNELS ELEMENTS EVERY``, to evaluate one of so many cases, with
inputs of so many elements. It writes a list in JSON: of each case its name, the bytes by which the process grew,
and those that were announced.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import ce_engine
from ce_engine import TensorForm, _libraries, memory_needed, slabs
from tests.pairs import pairs

ALL = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHAPES: dict[str, Callable[[int], tuple[int, ...]]] = {  # of about so many elements
    "rows": lambda count: (count // 1000, 1000),
    "few classes": lambda count: (count // 5, 5),
    "images": lambda count: (4, 21, count // 84),
    "many classes": lambda count: (16, count // 16),
}
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {  # what makes targets and weights, and the options of the loss
    "classes": ("cross_entropy", {}),
    "some ignored": ("cross_entropy", {"ignore_index": 1}),
    "int32 classes": ("cross_entropy", {}),
    "smoothed": ("cross_entropy", {"label_smoothing": 0.1, "weight": "of classes"}),
    "balanced": ("cross_entropy", {"weight": "balanced"}),
    "probabilities": ("cross_entropy", {"label_smoothing": 0.1, "weight": "of classes"}),
    "nll": ("nll_loss", {"weight": "of classes"}),
    "binary": ("binary_cross_entropy", {"weight": "of elements"}),
    "binary balanced": ("binary_cross_entropy_with_logits", {"weight": "balanced"}),
    "binary with logits": ("binary_cross_entropy_with_logits", {"pos_weight": "of a row"}),
}
OF_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {  # likewise, of losses over classes alone
    "largest classes": ("cross_entropy", {"top_k": 5, "z_loss": 0.1}),
    "largest of nll": ("nll_loss", {"top_k": 200}),
}
OF_TARGETS = ("target_log_probabilities", "target_ranks")
GRADIENTS = ("none", "own", "float64", "bfloat16")
EXACT = ("sums", "by_class")


class Case(NamedTuple):
    loss: str
    shape: str
    dtype: torch.dtype
    grad: str
    outputs: tuple[str, ...]
    reduction: str
    has_sample_weight: bool
    target_dtype: torch.dtype
    is_contiguous: bool
    exact: str

    @property
    def name(self) -> str:
        return ", ".join(str(part) for part in self)


def cases() -> list[Case]:
    booleans = (False, True)
    some = (LOSSES, SHAPES, (torch.float32, torch.float16), GRADIENTS, ((), ALL), ("mean", "none"), booleans)
    picked = pairs(*some, (None,), (True,), ("",))
    picked += pairs(LOSSES, ("rows", "images"), FLOATS, ("own",), (ALL,), ("mean",), (False,), FLOATS, booleans, ("",))
    few = (("none", "own"), ((), ("predictions",)), ("mean",), (False,), (None, torch.float64), booleans)
    picked += pairs(LOSSES, SHAPES, (torch.float32, torch.float16), *few, EXACT)
    of_targets = (("none", "own"), (OF_TARGETS,), ("none",), (False,), (None,), booleans, ("",))
    picked += pairs(OF_CLASSES, ("rows", "many classes"), FLOATS, *of_targets)
    return [Case._make((*case[:7], case[7] or case[2], *case[8:])) for case in picked]


def weighed_twice() -> list[Case]:
    """Weights of elements times those of samples, whose product takes more than all else: in every run."""
    rest = ("many classes", torch.float32, "none", (), "none", True, torch.float32, True, "")
    return [Case(loss, *rest) for loss in ("binary", "binary balanced")]


def main() -> None:
    kernels, elements, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with _libraries.using(None if kernels == "operators" else _libraries.runnable()[0]):
        json.dump([(case.name, *compared(case, elements)) for case in cases()[::every] + weighed_twice()], sys.stdout)


def compared(case: Case, elements: int) -> tuple[int, int]:
    """The bytes by which the process grew, and those that were announced."""
    loss, _ = (LOSSES | OF_CLASSES)[case.loss]
    arguments = arguments_of(case, SHAPES[case.shape](elements))
    needed = memory_needed(loss, exact=case.exact, **{name: formed(x) for name, x in arguments.items()})
    return growth(lambda: evaluated(case, arguments)), needed.peak


def evaluated(case: Case, arguments: dict[str, Any]) -> object:
    slab = getattr(slabs, (LOSSES | OF_CLASSES)[case.loss][0])(**arguments)
    slab.exact = case.exact
    return ce_engine.evaluate(slab)


def formed(x: object) -> Any:
    return TensorForm(x.dtype, tuple(x.shape), x.is_contiguous(), x.is_neg()) if isinstance(x, Tensor) else x


def growth(work: Callable[[], object]) -> int:
    """By how many bytes this process grows meanwhile, at its peak."""
    ce_engine.keep_memory(0)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forgets its peak
    before = resident("VmRSS")
    result = work()
    grown = resident("VmHWM") - before
    del result
    return grown


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def arguments_of(case: Case, shape: tuple[int, ...]) -> dict[str, Any]:
    torch.manual_seed(0)
    loss, options = (LOSSES | OF_CLASSES)[case.loss]
    is_binary = loss.startswith("binary")
    rows = shape if is_binary else (shape[0], *shape[2:])
    input = torch.rand(shape).to(case.dtype)
    arguments: dict[str, Any] = {"input": input if case.is_contiguous else spread(input)}
    arguments["target"] = target_of(case, shape, rows)
    arguments |= {name: weight_of(value, case, shape) for name, value in options.items()}
    arguments |= dict(common_options(case, rows))
    return arguments


def spread(x: Tensor) -> Tensor:
    """The same numbers, with one between each two."""
    return torch.stack((x, x), -1)[..., 0]


def target_of(case: Case, shape: tuple[int, ...], rows: tuple[int, ...]) -> Tensor:
    if case.loss.startswith("binary") or case.loss == "probabilities":
        return torch.randint(2, shape).to(case.target_dtype)
    return torch.randint(shape[1], rows, dtype=torch.int32 if case.loss == "int32 classes" else torch.int64)


def weight_of(value: object, case: Case, shape: tuple[int, ...]) -> object:
    sizes = {"of classes": shape[1:2], "of elements": shape, "of a row": (1, *shape[1:])}
    return torch.rand(sizes[value]).to(case.dtype) if isinstance(value, str) and value in sizes else value


def common_options(case: Case, rows: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    outputs = tuple(name for name in case.outputs if name != "lse" or not case.loss.startswith("binary"))
    yield from (("outputs", outputs), ("reduction", case.reduction))
    if case.has_sample_weight:
        yield "sample_weight", torch.rand(rows)
    if case.grad == "none":
        return
    yield "grad", True
    if case.grad != "own":
        yield "grad_dtype", getattr(torch, case.grad)
    if case.reduction == "none":
        yield "grad_output", torch.rand(rows)


if __name__ == "__main__":
    main()
