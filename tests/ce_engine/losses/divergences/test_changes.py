"""Changes of labels that a model excludes: row by row, and in exact sums."""

import math
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Head, slabs
from tests.ce_engine.helpers import FLOATS
from tests.ce_engine.losses.divergences.examples import KINDS
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

NEITHER, ONLY_TARGET, ONLY_INPUT, BOTH = range(4)  # classes by who gives them anything
HIDDEN_X, HIDDEN_Y = (torch.tensor([-math.inf if i in of else 0.0 for i in range(4)]) for of in ((0, 1), (0, 2)))


@pytest.mark.parametrize(("kind", "dtype", "temperature"), pairs(KINDS, FLOATS, (1.0, 1e-15, 1e15)))
def test_label_that_both_exclude_does_not_change(kind, dtype, temperature):
    x, y = HIDDEN_X.to(dtype).expand(4, 4), HIDDEN_Y.to(dtype).expand(4, 4)
    options: dict[str, Any] = {"divergence": kind, "temperature": temperature, "reduction": "none"}
    result = ce_engine.kl_divergence(x, y, labels=torch.arange(4), **options)
    assert present(result.changes).tolist() == [0, -math.inf, math.inf, 0]


def test_label_of_a_row_without_a_distribution_has_no_change():
    x, y = torch.zeros(4, 3), torch.zeros(4, 3)
    x[0], y[1] = -math.inf, -math.inf
    x[2:, 2] = y[2:, 2] = -math.inf
    x[2, 0], y[3, 0] = math.nan, math.inf
    assert present(ce_engine.kl_divergence(x, y, labels=torch.full((4,), 2)).changes).isnan().all()


def test_label_that_both_heads_exclude_does_not_change():
    states = torch.randn(5, 3)
    heads = [Head(torch.randn(4, 3), bias=bias) for bias in (HIDDEN_X, HIDDEN_Y)]
    labels = torch.tensor([NEITHER, ONLY_TARGET, ONLY_INPUT, BOTH, -100])
    changes = present(
        ce_engine.kl_divergence(states, states, head=heads[0], target_head=heads[1], labels=labels).changes
    )
    assert changes[:3].tolist() == [0, -math.inf, math.inf]
    assert changes[3].isfinite()


@pytest.mark.parametrize(
    ("labels", "mean"),
    [
        ([NEITHER, BOTH, NEITHER], 0.0),
        ([NEITHER, ONLY_INPUT, BOTH], math.inf),
        ([ONLY_TARGET, NEITHER, ONLY_TARGET], -math.inf),
        ([ONLY_TARGET, ONLY_INPUT, BOTH], math.nan),
    ],
)
def test_sums_of_changes_are_nan_only_of_both_infinities(labels, mean):
    rows = len(labels)
    slab = slabs.kl_divergence(HIDDEN_X.expand(rows, 4), HIDDEN_Y.expand(rows, 4), labels=torch.tensor(labels))
    slab.exact = "sums"
    exact = present(ce_engine.evaluate(slab).exact)
    change, squared = present(exact.change), present(exact.change_squared)
    assert float(change) == pytest.approx(mean, nan_ok=True)
    assert (change.nan_count, squared.nan_count, squared.negative_infinity_count) == (0, 0, 0)
