"""Exact sums by class of many rows, beside a plain loop over them."""

import math

import pytest
import torch

import ce_engine
from ce_engine import ExactSums, InvalidArgumentError, Reduction, _libraries
from ce_engine._sums import by_class
from tests.ce_engine.sums.truth import sums_of

LIBRARIES = [None, *_libraries.runnable()]


def reduction_of(losses: torch.Tensor, weights: torch.Tensor | None, ignored: torch.Tensor) -> Reduction:
    return Reduction("mean", "nan", losses.shape, math.nan, int(ignored.sum()), weights)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("class_count", [1, 3, 700])
@pytest.mark.parametrize("part_rows", [64, 10_000])
def test_sums_by_class_are_those_of_a_plain_loop(part_rows, class_count, is_weighted, library, monkeypatch):
    monkeypatch.setattr(by_class, "PART_ROWS", part_rows)
    rows, generator = 1000, torch.Generator().manual_seed(class_count)
    classes = torch.randint(class_count, (rows,), generator=generator)
    ignored, correct = torch.rand(rows, generator=generator) < 0.2, torch.rand(rows, generator=generator) < 0.5
    losses = torch.randn(rows, generator=generator).masked_fill(ignored, 0)
    weights = torch.rand(class_count, dtype=torch.float64, generator=generator)[classes] if is_weighted else None
    correct &= ~ignored
    reduction = reduction_of(losses, weights, ignored)
    with _libraries.using(library):
        found = ce_engine.exact_sums_by_class(losses, reduction, classes, ignored, correct)
    expected = looped(losses, weights, classes, ignored, correct)
    assert list(found) == sorted(expected)
    assert found == expected


def looped(losses, weights, classes, ignored, correct) -> dict[int, ExactSums]:
    sums = {}
    for c in set(classes[~ignored].tolist()):
        rows = (classes == c) & ~ignored
        of_rows = [1.0] * int(rows.sum()) if weights is None else weights[rows].tolist()
        sums[c] = sums_of(losses[rows].tolist(), of_rows, 0, int(correct[rows].sum()))
    return sums


@pytest.mark.parametrize("library", LIBRARIES)
def test_classes_may_be_of_any_integer_dtype(library):
    losses = torch.tensor([1.0, 2.0, 4.0])
    reduction = reduction_of(losses, None, torch.zeros(3).bool())
    with _libraries.using(library):
        for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64):
            found = ce_engine.exact_sums_by_class(losses, reduction, torch.tensor([1, 0, 1]).to(dtype))
            assert {c: float(sums.loss) for c, sums in found.items()} == {0: 2.0, 1: 5.0}
            assert {c: sums.correct_count for c, sums in found.items()} == {0: None, 1: None}


@pytest.mark.parametrize("library", LIBRARIES)
def test_negative_class_is_refused(library):
    losses = torch.ones(3)
    reduction = reduction_of(losses, None, torch.zeros(3).bool())
    with (
        _libraries.using(library),
        pytest.raises(InvalidArgumentError, match="classes: expected none below 0, got -5"),
    ):
        ce_engine.exact_sums_by_class(losses, reduction, torch.tensor([0, -5, 1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_classes_of_the_caller_are_not_changed(library):
    losses, classes, ignored = torch.ones(3), torch.tensor([2, 0, 1]), torch.tensor([False, True, False])
    with _libraries.using(library):
        found = ce_engine.exact_sums_by_class(losses, reduction_of(losses, None, ignored), classes, ignored)
    assert classes.tolist() == [2, 0, 1]
    assert list(found) == [1, 2]


@pytest.mark.parametrize(
    ("column", "wrong", "problem"),
    [
        ("classes", torch.arange(4), r"classes: expected shape \(3,\) in int64, .*, bool, got \(4,\) in int64"),
        ("classes", torch.zeros(3), r"classes: expected .*, got \(3,\) in float32"),
        ("ignored", torch.zeros(2, dtype=torch.bool), r"ignored: expected shape \(3,\) in bool, got \(2,\) in bool"),
        ("correct", torch.zeros(3), r"correct: expected .*, got \(3,\) in float32"),
    ],
)
def test_wrong_column_is_named(column, wrong, problem):
    losses = torch.ones(3)
    columns = {"classes": torch.arange(3), column: wrong}
    with pytest.raises(InvalidArgumentError, match=problem):
        ce_engine.exact_sums_by_class(losses, reduction_of(losses, None, torch.zeros(3)), **columns)
