"""Everything that a row of a divergence returns has the same bits alone, in any company and place, on any workers."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head, LossResult, Norm, slabs
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import threads
from tests.ce_engine.losses.divergences.examples import KINDS
from tests.pairs import pairs

pytestmark = pytest.mark.usefixtures("either_kernels")

# More rows than a tile has, and more classes than a step; a width and a count that no register divides.
ROWS, CLASSES, WIDTH = 290, 333, 21
OUTPUTS = ("lse", "entropy", "log_probabilities", "predictions", "target_log_probabilities", "target_ranks")
RETURNED = ("loss", "grad", "changes", "top_classes", "top_log_probabilities", *OUTPUTS)
HEADS = ("none", "input", "target", "both")


def head(seed: int, dtype: torch.dtype, **options: Any) -> Head:
    generator = torch.Generator().manual_seed(seed)
    return Head(torch.randn(CLASSES, WIDTH, generator=generator).to(dtype), norm=Norm("rms", 1e-5), **options)


def models(which: str, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Any]]:
    """What has a number for each row, and the options."""
    torch.manual_seed(0)
    heads: dict[str, Any] = {}
    if which in ("input", "both"):
        heads["head"] = head(1, dtype, softcap=9.0, temperature=1.5)
    if which in ("target", "both"):
        heads["target_head"] = head(2, dtype)
    x = torch.randn(ROWS, WIDTH if "head" in heads else CLASSES).to(dtype)
    y = torch.randn(ROWS, WIDTH if "target_head" in heads else CLASSES).to(dtype)
    labels = torch.randint(CLASSES, (ROWS,))
    labels[7] = -100
    return {"input": x, "target": y, "labels": labels}, heads


def taken(rows: dict[str, Any], at: Any) -> dict[str, Any]:
    return {name: tensor[at] for name, tensor in rows.items()}


def assert_same_rows(result: LossResult, whole: LossResult, at: Any) -> None:
    for name in RETURNED:
        assert bits(getattr(result, name)) == bits(getattr(whole, name)[at]), name


@pytest.mark.parametrize(
    ("which", "kind", "temperature", "dtype"), pairs(HEADS, KINDS, (1.0, 2.0), (torch.float32, torch.bfloat16))
)
def test_row_has_its_bits_in_any_company(which, kind, temperature, dtype):
    rows, options = models(which, dtype)
    options |= {"divergence": kind, "temperature": temperature, "outputs": OUTPUTS, "top_k": 5}
    options |= {"reduction": "none", "grad": True}
    whole = ce_engine.kl_divergence(**rows, **options)
    order = torch.randperm(ROWS)
    some = [slice(3, 4), slice(7, 24), slice(100, 280), order, [289, 5, 5]]
    for at in some:
        assert_same_rows(ce_engine.kl_divergence(**taken(rows, at), **options), whole, at)
    with threads(1):
        assert_same_rows(ce_engine.kl_divergence(**taken(rows, 289), **options), whole, 289)
    for workers in (1, 3):
        with Engine(workers=workers) as engine:
            futures = [engine.submit(slabs.kl_divergence(**taken(rows, at), **options)) for at in some]
            for at, future in zip(some, futures, strict=True):
                assert_same_rows(future.result(20), whole, at)
