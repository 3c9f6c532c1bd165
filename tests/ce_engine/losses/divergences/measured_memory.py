"""Evaluates divergences in a process of its own, and compares what each case takes with what it may take.

Run as ``python -m tests.ce_engine.losses.divergences.measured_memory KERNELS``. It writes a list in JSON: of each case
its name, the bytes by which the process grew, and those that it may take at most.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch

import ce_engine
from ce_engine import Head, Norm, _libraries, memory_needed, slabs
from tests.ce_engine.losses.divergences.examples import KINDS, TAILS
from tests.ce_engine.measured_memory import formed, growth
from tests.pairs import pairs

CLASSES, WIDTH, ROWS, NAMED = 2048, 64, 1536, 32  # of rows six tiles
WHICH = ("none", "input", "target", "both")
TILE = 256 * CLASSES * 4
BESIDE = 2**21  # hidden states of a tile, and blocks of rows


class Case(NamedTuple):
    which: str
    kind: str
    tail: str | None
    dtype: torch.dtype
    grad: bool
    outputs: tuple[str, ...]
    softcap: float | None

    @property
    def tiles(self) -> int:
        """Of logits, one for each model that has a head; one of gradients where a softcap is differentiated; and two of
        the parts that a gradient is cut into, where products are in bfloat16."""
        heads, is_differentiated = (
            {"none": 0, "both": 2}.get(self.which, 1),
            self.grad and self.which in ("input", "both"),
        )
        of_softcap, of_parts = self.softcap is not None, 2 * (self.dtype is torch.bfloat16)
        return heads + is_differentiated * (of_softcap + of_parts)


def cases() -> list[Case]:
    outputs = ((), ("lse", "entropy", "predictions", "target_ranks"))
    axes = ((torch.float32, torch.bfloat16), (False, True), outputs, (None, 30.0))
    whole, named = pairs(WHICH, KINDS, (None,), *axes), pairs(("none", "input"), KINDS, TAILS, *axes)
    return [Case(*case) for case in (*whole, *named)]


def measured(cases: Iterable[Case]) -> Iterator[tuple[str, int, int]]:
    """What is announced is for tiles on all threads; alone, a slab has no more than one tile of each model's logits."""
    for case in cases:
        arguments = arguments_of(case)
        needed = memory_needed("kl_divergence", **{name: formed(x) for name, x in arguments.items()})
        promised = needed.results + case.tiles * TILE + BESIDE
        may_take = min(needed.peak, promised) if _libraries.library() and case.tiles else needed.peak
        few = {name: x[:2] if isinstance(x, torch.Tensor) else x for name, x in arguments.items()}
        evaluated(few)  # libraries for products keep memory of their own from then on
        yield str(case), growth(lambda of=arguments: evaluated(of)), may_take  # type: ignore[misc]


def evaluated(arguments: dict[str, Any]) -> object:
    return ce_engine.evaluate(slabs.kl_divergence(**arguments))


def arguments_of(case: Case) -> dict[str, Any]:
    arguments: dict[str, Any] = {"labels": torch.randint(CLASSES, (ROWS,)), "grad": case.grad, "outputs": case.outputs}
    arguments["divergence"] = case.kind
    if case.outputs:
        arguments |= {"top_k": 3, "temperature": 1.0 if case.tail in ("one_bin", "drop") else 2.0}
    for name, of in (("input", "head"), ("target", "target_head")):
        if case.which in (name, "both"):
            weight, norm = torch.rand(CLASSES, WIDTH).to(case.dtype), Norm("rms", 1e-5)
            arguments[of] = Head(weight, norm=norm, softcap=case.softcap)
        arguments[name] = torch.rand(ROWS, WIDTH if of in arguments else CLASSES).to(case.dtype)
    if case.tail is not None:
        arguments |= {"tail": case.tail, "target": arguments["target"][:, :NAMED].log_softmax(1)}
        arguments["target_classes"] = torch.arange(NAMED).expand(ROWS, NAMED).contiguous()
    return arguments


def main() -> None:
    with _libraries.using(None if sys.argv[1] == "operators" else _libraries.runnable()[0]):
        json.dump(list(measured(cases())), sys.stdout)


if __name__ == "__main__":
    main()
