"""Compares an answer with the twin."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from losswire import v1
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire.tensors import decode
from trials.twin.batch import Batch
from trials.twin.rows import ROUNDINGS
from trials.twin.tensors import as_torch
from trials.twin.truth import Truth, truth

OVERFLOWS = {torch.float16: 6e4, torch.bfloat16: 1e38, torch.float32: 1e38}  # larger numbers may become infinite
TOP = {tensor.name for tensor in RESULT_TENSORS if tensor.width == "top"}
MAX_ELEMENTS = 2**22  # of an input that is compared, and classes, which an input without rows may have as well

Answer = Mapping[str, Any]


class WrongAnswerError(Exception):
    """An answer is not the twin's."""


def check_response(batch: Batch, response: v1.EvaluateResponse) -> int:
    """Compares the answer of a message. Returns how many rows could be compared.

    Raises:
        WrongAnswerError: They differ by more than rounding.
    """
    tensors = {each.name: getattr(response, each.field) for each in RESULT_TENSORS if response.HasField(each.field)}
    answer: dict[str, Any] = {name: decode(tensor, name) for name, tensor in tensors.items()}
    numbers = {name: getattr(response, name) for name in RESULT_NUMBERS if name != "correct_count"}
    if response.HasField("correct_count"):
        numbers["correct_count"] = response.correct_count
    return check(batch, answer | numbers)


def check_result(batch: Batch, result: Any, true: Truth | None = None) -> int:
    """Compares the result of a client's call, as `check_response`."""
    names = (*RESULT_NUMBERS, *(tensor.name for tensor in RESULT_TENSORS))
    came = {name: getattr(result, name) for name in names}
    return check(batch, {name: value for name, value in came.items() if value is not None}, true)


def check(batch: Batch, answer: Answer, true: Truth | None = None) -> int:
    """Compares an answer by the names of the SDK's results, as `check_response`."""
    if max(batch.input.numel(), batch.classes) > MAX_ELEMENTS or not batch.classes:
        return 0
    true = true or truth(batch)
    with_counts = {"row_count": true.row_count, "ignored_count": true.ignored_count}
    if bool(true.known.all()) and true.correct_count is not None:
        with_counts["correct_count"] = true.correct_count
    for name, count in with_counts.items():
        if name in answer and answer[name] != count:
            raise WrongAnswerError(f"{name}: expected {count}, got {answer[name]}")
    eps = torch.finfo(batch.compute_dtype).eps
    _check_sums(batch, answer, true, eps)
    for name in true.tensors:
        if name in answer and (name != "loss" or batch.options.get("reduction", "mean") == "none"):
            _check_rows(batch, name, _tensor(answer[name]), true, eps)
    return int(true.tame.sum())


def _check_sums(batch: Batch, answer: Answer, true: Truth, eps: float) -> None:
    if math.isfinite(true.weight_size):
        tiny = torch.finfo(batch.compute_dtype).tiny * batch.row_count  # weights of another dtype may be smaller
        _hold("weight_sum", answer["weight_sum"], true.weight_sum, ROUNDINGS * eps * true.weight_size + tiny)
    if not bool(true.known.all()):
        return
    allowed = ROUNDINGS * eps * float(true.sizes["loss"].sum())
    loss_sum = float(true.tensors["loss"].sum())
    _hold("loss_sum", answer["loss_sum"], loss_sum, allowed)
    if true.loss is not None:
        divisor = batch.options.get("divisor")
        reduced = (divisor or true.weight_sum) if batch.options.get("reduction", "mean") == "mean" else 1.0
        weighed = 0.0 if divisor else abs(loss_sum) * eps * true.weight_size / abs(true.weight_sum or 1.0)
        allowed = (allowed + weighed) / abs(reduced or 1.0)
        _hold("loss", float(answer["loss"]), true.loss, allowed + ROUNDINGS * eps * abs(true.loss))


def _hold(name: str, came: float, expected: float, allowed: float) -> None:
    if not (abs(came - expected) <= allowed or (math.isnan(came) and math.isnan(expected))):
        raise WrongAnswerError(f"{name}: expected {expected} within {allowed:.3g}, got {came}")


def _check_rows(batch: Batch, name: str, came: Tensor, true: Truth, eps: float) -> None:
    expected, size = true.tensors[name], true.sizes[name]
    wide = expected.dim() == 2
    if name in TOP:
        count = min(came.shape[-1], expected.shape[1])
        expected, size = expected[:, :count], size[:, :count]
        rows = came.reshape(-1, came.shape[-1])[:, :count].double()
    else:
        rows = (batch.rows(came) if wide else came.reshape(-1)).double()
    if len(rows) != len(expected):
        raise WrongAnswerError(f"{name}: expected {len(expected)} rows, got {len(rows)}")
    allowed = ROUNDINGS * eps * size.expand_as(expected) + torch.finfo(batch.compute_dtype).tiny
    if came.is_floating_point():
        of_came = torch.finfo(came.dtype)
        allowed = allowed + of_came.eps * (expected.abs() + of_came.tiny)
    allowed = torch.where(expected.abs() > OVERFLOWS.get(came.dtype, math.inf), math.inf, allowed)
    compared = true.known if name in ("loss", "grad") else true.tame
    wrong = ~((rows - expected).abs() <= allowed) & (compared[:, None] if wide else compared)
    wrong &= expected.isfinite() & allowed.isfinite()
    if bool(wrong.any()):
        place = tuple(wrong.nonzero()[0].tolist())
        values = f"expected {expected[place]} within {allowed[place]:.3g}, got {rows[place]}"
        raise WrongAnswerError(f"{batch.loss} {tuple(batch.input.shape)}: {name} at {place}: {values}")


def _tensor(array: Any) -> Tensor:
    return as_torch(np.array(array))
