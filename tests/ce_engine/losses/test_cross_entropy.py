import itertools
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import reference
from tests.ce_engine.helpers import FLOATS, REDUCTIONS, SHAPES, TOLERANCES, Problem, assert_close, assert_no_worse
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


def sample(
    shape: tuple[int, ...],
    target_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float64,
    ignored: Iterable[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    input = (torch.randn(shape, generator=generator, dtype=torch.float64) * 3).to(dtype)
    class_count = shape[1] if len(shape) > 1 else shape[0]
    target = torch.randint(class_count, target_shape, generator=generator)
    target.view(-1)[list(ignored)] = -100
    weight = torch.rand(class_count, generator=generator, dtype=torch.float64) + 0.5
    return input, target, weight.to(dtype)


def torch_loss_and_grad(input: Tensor, target: Tensor, weight: Tensor | None, **options: Any) -> tuple[Tensor, Tensor]:
    return Problem("cross_entropy", input, target, {"weight": weight, **options}).theirs()


@pytest.mark.parametrize(("name", "reduction", "dtype"), pairs(SHAPES, REDUCTIONS, TOLERANCES))
def test_every_shape_is_as_in_torch(name, reduction, dtype):
    (shape, rows), tolerance = SHAPES[name], TOLERANCES[dtype]
    count = torch.Size(rows).numel()
    for ignored, weighted, smoothing in itertools.product(((), range(0, count, 2)), (False, True), (0.0, 0.3, 1.0)):
        input, target, weights = sample(shape, rows, dtype, ignored)
        options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
        weight = weights if weighted else None
        result = ce_engine.cross_entropy(input, target, weight, **options, grad=True)
        assert_close(result, *torch_loss_and_grad(input, target, weight, **options), tolerance)
        assert result.row_count == count - len(ignored)
        assert result.ignored_count == len(ignored)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "rows"), [shapes for shapes in SHAPES.values() if 0 not in shapes[0]])
def test_twin_agrees_in_everything(shape, rows, reduction):
    input, target, weight = sample(shape, rows, ignored=range(1, torch.Size(rows).numel(), 3))
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.2}
    result = ce_engine.cross_entropy(input, target, weight, **options, grad=True)
    twin = reference.cross_entropy(input, target, weight, **options)
    assert_close(result, twin.loss, twin.grad, 1e-12)
    assert result.loss_sum == pytest.approx(twin.loss_sum, rel=1e-12)
    assert result.weight_sum == pytest.approx(twin.weight_sum, rel=1e-12)
    assert (result.row_count, result.ignored_count) == (twin.row_count, twin.ignored_count)


@pytest.mark.slow
# With one class the gradient is a difference of equals.
@pytest.mark.parametrize(("class_count", "reduction", "dtype"), pairs((1, 40), REDUCTIONS, FLOATS[1:]))
def test_error_is_no_larger_than_torchs(class_count, reduction, dtype):
    # 300 rows: enough for the sums of half precision to go wrong in PyTorch, few enough for the twin's loop.
    input, target, weights = sample((300, class_count), (300,), dtype)
    for weight, smoothing in itertools.product((None, weights), (0.0, 0.2)):
        options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
        result = ce_engine.cross_entropy(input, target, weight, **options, grad=True)
        truth = reference.cross_entropy(input, target, weight, **options)
        loss, grad = torch_loss_and_grad(input, target, weight, **options)
        row_weight = 1.0 if weight is None else float(weight.max())
        size = row_weight / (result.weight_sum if reduction == "mean" else 1)
        assert_no_worse(result.loss, loss, truth.loss, truth.loss.abs().max())
        assert_no_worse(result.grad, grad, truth.grad, size)


def test_ignore_index_may_be_a_class():
    input, target, _ = sample((6, 3), (6,))
    options: dict[str, Any] = {"ignore_index": 1, "label_smoothing": 0.3}
    result = ce_engine.cross_entropy(input, target, **options, grad=True)
    assert_close(result, *torch_loss_and_grad(input, target, None, **options), 1e-12)
    assert result.ignored_count == int((target == 1).sum()) > 0


def test_all_ignored_is_nan_as_in_torch():
    input, target, _ = sample((4, 5), (4,), ignored=range(4))
    result = ce_engine.cross_entropy(input, target, grad=True)
    assert_close(result, *torch_loss_and_grad(input, target, None), 0)
    assert result.loss.isnan()
    assert (result.loss_sum, result.weight_sum, result.row_count) == (0, 0, 0)


@pytest.mark.parametrize("rows", [4, 0], ids=["all ignored", "no rows"])
def test_nothing_that_counts_may_be_zero(rows):
    input, target, _ = sample((rows, 5), (rows,), ignored=range(rows))
    result = ce_engine.cross_entropy(input, target, empty="zero", grad=True)
    assert result.loss == 0
    assert not present(result.grad).any()


@pytest.mark.parametrize("weight", [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]], ids=["all zero", "cancelling"])
def test_weights_that_sum_to_zero(weight):
    input, target, weight = torch.randn(2, 3), torch.tensor([0, 1]), torch.tensor(weight)
    result = ce_engine.cross_entropy(input, target, weight, grad=True)
    assert_close(result, *torch_loss_and_grad(input, target, weight), 1e-6)


def test_no_classes_without_rows():
    result = ce_engine.cross_entropy(torch.zeros(2, 0), torch.tensor([-100, -100]), label_smoothing=0.1, grad=True)
    assert result.loss.isnan()
    assert present(result.grad).shape == (2, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e4, -1e4])
def test_extreme_logits_are_as_in_torch(value, smoothing):
    input, target, _ = sample((4, 5), (4,))
    input[0, target[0]] = value
    input[1, (target[1] + 1) % 5] = value
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": "none"}
    result = ce_engine.cross_entropy(input, target, **options, grad=True)
    assert_close(result, *torch_loss_and_grad(input, target, None, **options), 1e-9)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_ignored_row_has_no_gradient(value):
    input, target, _ = sample((3, 5), (3,), ignored=[1])
    input[1] = value
    result = ce_engine.cross_entropy(input, target, label_smoothing=0.1, grad=True)
    assert result.loss.isfinite()
    assert not present(result.grad)[1].any()


def test_many_halves_sum_as_in_float64():
    # In float16 itself, 10,000 losses of about 2.3 overflow nothing but lose the sum's last digits; in float32, digits.
    input, target, _ = sample((10_000, 10), (10_000,), torch.float16)
    result = ce_engine.cross_entropy(input, target, reduction="sum")
    truth = F.cross_entropy(input.double(), target, reduction="sum")
    assert result.loss_sum == pytest.approx(float(truth), rel=1e-7)


def test_sum_of_a_million_rows_is_exact():
    input, target, _ = sample((1_000_000, 3), (1_000_000,))
    result = ce_engine.cross_entropy(input, target, reduction="none")
    assert result.loss_sum == pytest.approx(math.fsum(result.loss.tolist()), rel=1e-12, abs=0)


def test_merged_sums_are_the_whole():
    input, target, weight = sample((100, 7), (100,), ignored=range(0, 100, 9))
    parts = [ce_engine.cross_entropy(input[a:b], target[a:b], weight) for a, b in ((0, 50), (50, 51), (51, 100))]
    merged = sum(part.loss_sum for part in parts) / sum(part.weight_sum for part in parts)
    assert merged == pytest.approx(float(F.cross_entropy(input, target, weight)), rel=1e-14)


def test_no_classes_with_weights():
    ignored = torch.tensor([-100, -100])
    assert ce_engine.cross_entropy(torch.empty(2, 0), ignored, torch.empty(0)).loss.isnan()
    assert ce_engine.nll_loss(torch.empty(2, 0), ignored, torch.empty(0)).loss.isnan()


def test_vanishing_probabilities_are_exact():
    torch.manual_seed(0)
    input, target = torch.randn(2000, 300) * 100, torch.randint(300, (2000,))
    result = ce_engine.cross_entropy(input, target, reduction="none", grad=True)
    truth = F.cross_entropy(input.double(), target, reduction="none")
    assert (truth > 70).sum() > 1000  # more than a float32 probability can express
    torch.testing.assert_close(result.loss.double(), truth, rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_mode_leaves_no_trace(dtype):
    input, target = torch.randn(4, 5).to(dtype), torch.tensor([0, 1, 2, 3])

    def evaluate():
        ce_engine.cross_entropy(input, target, label_smoothing=0.1, grad=True)
        ce_engine.binary_cross_entropy_with_logits(input, torch.rand(4, 5), grad=True)

    def twice():
        with torch.inference_mode():
            evaluate()
        evaluate()

    with ThreadPoolExecutor(1) as pool:  # a new thread has no scratch memory yet
        pool.submit(twice).result(20)
