"""Evaluates hidden states in a process of its own, and compares what each case takes with what `memory_needed` says.

Run as ``python -m tests.ce_engine.heads.measured_memory KERNELS``. It writes a list in JSON: of each case its name, the
bytes by which the process grew, and those that were announced.
"""

import json
import sys
from typing import Any, NamedTuple

import torch

import ce_engine
from ce_engine import Head, Norm, _libraries, memory_needed, slabs
from tests.ce_engine.losses.divergences import measured_memory as divergences
from tests.ce_engine.measured_memory import formed, growth
from tests.pairs import pairs

SIZES = ((32000, 64, 600), (1000, 512, 5000), (3, 64, 100_000))  # classes, width and rows
# All are slow tests: tests/ce_engine/losses/divergences/test_memory.py.
ONE_DIVERGENCE = divergences.Case("both", "forward", None, torch.float32, True, ("lse",), None)


class Case(NamedTuple):
    size: tuple[int, int, int]
    dtype: torch.dtype
    target: str
    grad: bool
    outputs: tuple[str, ...]
    norm: Any


def cases() -> list[Case]:
    outputs = ((), ("lse", "probabilities"))
    axes = (SIZES, (torch.float32, torch.bfloat16), ("classes", "distributions"), (False, True), outputs)
    return [Case(*case) for case in pairs(*axes, (None, "rms", "layer"))]


def compared(case: Case) -> tuple[int, int]:
    classes, width, rows = case.size
    norm = None if case.norm is None else Norm(case.norm, 1e-5)
    head = Head(torch.rand(classes, width).to(case.dtype), norm=norm, temperature=1.5)
    arguments: dict[str, Any] = {
        "input": torch.rand(rows, width).to(case.dtype),
        "target": torch.randint(classes, (rows,)),
        "grad": case.grad,
        "outputs": case.outputs,
    }
    if case.outputs:
        arguments |= {"top_k": 3, "z_loss": 0.01}
    if case.target == "distributions":
        arguments["target"] = torch.nn.functional.one_hot(arguments["target"], classes).to(torch.bfloat16)
    needed = memory_needed("linear_cross_entropy", head=head, **{name: formed(x) for name, x in arguments.items()})
    evaluated(head, arguments)  # libraries for products keep memory of their own from then on
    return growth(lambda: evaluated(head, arguments)), needed.peak


def evaluated(head: Head, arguments: dict[str, Any]) -> object:
    return ce_engine.evaluate(slabs.linear_cross_entropy(head=head, **arguments))


def main() -> None:
    with _libraries.using(None if sys.argv[1] == "operators" else _libraries.runnable()[0]):
        of_divergences = divergences.measured([ONE_DIVERGENCE])
        json.dump([*((str(case), *compared(case)) for case in cases()), *of_divergences], sys.stdout)


if __name__ == "__main__":
    main()
