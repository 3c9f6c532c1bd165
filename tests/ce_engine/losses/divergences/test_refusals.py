"""What is wrong is told by the argument's name, what came and what was expected."""

import math
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import InvalidArgumentError, _libraries

X, Y = torch.zeros(2, 3), torch.zeros(2, 3)
LOG_P, CLASSES = torch.zeros(2, 2), torch.tensor([[0, 1], [2, 0]])
NAMED: dict[str, Any] = {"target": LOG_P, "target_classes": CLASSES, "tail": "drop"}


def of(*classes: list[int], log_p: torch.Tensor = LOG_P) -> dict[str, Any]:
    return NAMED | {"target": log_p, "target_classes": torch.tensor(classes)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": torch.zeros(())}, r"input: expected shape \(C\) or \(..., C\), got a scalar"),
        ({"input": torch.zeros(2, 3).int()}, "input: expected one of the dtypes .*, got int32"),
        (
            {"target": torch.zeros(2, 4)},
            r"target: expected logits of the input's shape \(2, 3\), .* target_classes",
        ),
        ({"target": torch.zeros(2, 3).long()}, "target: expected one of the dtypes .*, got int64"),
        ({"divergence": "sideways"}, "divergence: expected one of 'forward', 'reverse', .*, got 'sideways'"),
        ({"beta": 0.5}, "beta: expected none with 'forward', got 0.5"),
        *[
            ({"beta": beta, "divergence": "jensen_shannon"}, rf"beta: expected a number in \(0, 1\), .*, got {beta}")
            for beta in (0.0, 1.0, 1e-320, 1 - 1e-16, math.nan)
        ],
        ({"beta": True, "divergence": "jensen_shannon"}, r"beta: expected float \| int, got bool"),
        ({"temperature": True}, r"temperature: expected float \| int, got bool"),
        ({"beta": "half", "divergence": "jensen_shannon"}, "beta: expected float | int, got str"),
        ({"temperature": 0.0}, "temperature: expected a number from 1e-15 to 1e15, got 0.0"),
        ({"temperature": 1e-320}, "temperature: expected a number from 1e-15 to 1e15, got 1e-320"),
        ({"temperature": 1e308}, r"temperature: expected a number from 1e-15 to 1e15, got 1e\+308"),
        ({"temperature": 10**400}, "temperature: expected a number from 1e-15 to 1e15, got 1000"),
        ({"temperature": math.inf}, "temperature: expected a number from 1e-15 to 1e15, got inf"),
        ({"temperature": math.nan}, "temperature: expected a number from 1e-15 to 1e15, got nan"),
        ({"tail": "drop"}, "tail: expected none without target_classes, got 'drop'"),
        (NAMED | {"tail": None}, "tail: expected one of .* with target_classes, got None"),
        (NAMED | {"tail": "cut"}, "tail: expected one of 'renormalize', 'one_bin', 'drop', got 'cut'"),
        (NAMED | {"temperature": 2.0}, "temperature: expected 1 with tail 'drop', got 2.0"),
        (NAMED | {"target": torch.zeros(3, 2)}, r"target: expected shape \(2,\), .*, got \(3,\)"),
        (NAMED | {"target": torch.zeros(2, 3)}, r"target_classes: expected the target's shape \(2, 3\), got \(2, 2\)"),
        (NAMED | {"target_classes": CLASSES.float()}, "target_classes: expected .* integer dtype, got float32"),
        (of([0, 1], [0, 3]), r"target_classes: expected classes in \[0, 3\) .*, got 3 at row 1"),
        (of([0, -1], [0, 3]), r"target_classes: expected classes in \[0, 3\) .*, got -1 at row 0"),
        (of([0, 1], [2, 2]), "target_classes: expected each class once in a row, got 2 twice at row 1"),
        ({"labels": torch.zeros(3).long()}, r"labels: expected shape \(2,\), one class for each row, got \(3,\)"),
        ({"labels": torch.zeros(2)}, "labels: expected class indices of an integer dtype, got float32"),
        (
            {"labels": torch.tensor([0, 3])},
            r"labels: expected classes in \[0, 3\) or .*, got 3 at row 1",
        ),
        ({"labels": torch.tensor([0, 1]), "ignore_index": 0.5}, "ignore_index: expected int, got float"),
        ({"outputs": ["target_ranks"]}, "outputs: expected no 'target_ranks' without labels"),
        ({"outputs": ["target_log_probabilities"]}, "outputs: expected no 'target_log_probabilities' without labels"),
        ({"sample_weight": torch.ones(3)}, r"sample_weight: expected the loss's shape \(2,\), got \(3,\)"),
        ({"reduction": "batchmean"}, "reduction: expected one of .*'mean' divides by rows.*, got 'batchmean'"),
        ({"log_target": True}, "log_target: expected none: targets are logits"),
    ],
)
def test_wrong_argument_is_named(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ce_engine.kl_divergence(**({"input": X, "target": Y} | options))


def test_classes_of_entries_without_a_share_are_not_checked():
    log_p = torch.tensor([[0.0, -math.inf], [-math.inf, -math.inf]])
    assert ce_engine.kl_divergence(X, **of([1, 1], [7, -3], log_p=log_p)).row_count == 2


def test_classes_that_change_after_planning_read_nothing_else():
    classes = CLASSES.clone()
    slab = ce_engine.slabs.kl_divergence(X, LOG_P, target_classes=classes, tail="drop")
    if _libraries.library() is None:
        pytest.skip("PyTorch's operators check by themselves")
    classes[1, 0] = 2**40
    with pytest.raises(IndexError, match="out of range now"):
        ce_engine.evaluate(slab)
