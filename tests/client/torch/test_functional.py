"""The losses of losswire_client.torch and of PyTorch: the same arguments, the same numbers."""

import itertools
import warnings

import pytest
import torch
from torch.nn import functional as F

from losswire_client import InvalidArgumentError
from losswire_client.torch import TorchArgumentError
from losswire_client.torch.nn import functional as remote
from tests.ce_engine.helpers import HALVES, PROBLEMS, REDUCTIONS, SHAPES, TOLERANCES, Problem, assert_no_worse, problem
from tests.ce_engine.losses.test_conformance import COUNTS, samples
from tests.pairs import pairs
from tests.present import present


def evaluated(functional, problem, client=None, **more):
    """The loss, and the input's gradient for an incoming gradient that differs from row to row."""
    options = {**problem.options, **more, **({"client": client} if client else {})}
    leaf = problem.input.detach().clone().requires_grad_()
    loss = getattr(functional, problem.loss)(leaf, problem.target, **options)
    incoming = torch.linspace(-1, 2, max(loss.numel(), 1), dtype=loss.dtype)[: loss.numel()].reshape(loss.shape)
    (grad,) = torch.autograd.grad(loss, leaf, incoming)
    return loss.detach(), grad


def assert_same(ours, theirs, tolerance):
    for mine, yours in zip(ours, theirs, strict=True):  # dtypes and devices too
        torch.testing.assert_close(mine, yours, atol=tolerance, rtol=tolerance, equal_nan=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "rows"), SHAPES.values(), ids=SHAPES)
def test_class_targets_are_as_in_torch(client, shape, rows, reduction):
    torch.manual_seed(0)
    logits, target = torch.randn(shape, dtype=torch.float64), torch.randint(shape[min(1, len(shape) - 1)], rows)
    weight = torch.rand(shape[min(1, len(shape) - 1)], dtype=torch.float64)
    for w, ignore_index, smoothing in itertools.product((None, weight), (-100, 0), (0.0, 0.2)):
        options = {"weight": w, "ignore_index": ignore_index, "reduction": reduction}
        for loss, more in (("cross_entropy", {"label_smoothing": smoothing}), ("nll_loss", {})):
            case = Problem(loss, logits, target, options | more)
            assert_same(evaluated(remote, case, client), evaluated(F, case), 1e-12)


@pytest.mark.parametrize(("kind", "dtype", "reduction"), pairs(PROBLEMS, TOLERANCES, REDUCTIONS))
def test_every_loss_gives_what_torch_gives(client, kind, dtype, reduction):
    for shape in ((4, 5, 3), (4, 5), (5,)):
        case = problem(kind, shape, dtype)
        ours = evaluated(remote, case, client, reduction=reduction)
        assert_same(ours, evaluated(F, case, reduction=reduction), TOLERANCES[dtype])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0,), (5, 0), (0, 3), (0, 0), (2, 3, 0), (2, 0, 3, 4), (0, 3, 4)], ids=str)
def test_empty_batches_give_what_torch_gives(client, shape, reduction):
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    input, ignored = torch.rand(shape, dtype=torch.float64), torch.full(rows, -100)
    for loss, target in (
        ("cross_entropy", torch.rand_like(input)),
        ("cross_entropy", ignored),
        ("nll_loss", ignored),
        ("binary_cross_entropy", torch.rand_like(input)),
        ("binary_cross_entropy_with_logits", torch.rand_like(input)),
    ):
        case = Problem(loss, input, target, {"reduction": reduction})
        assert_same(evaluated(remote, case, client), evaluated(F, case), 0)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", COUNTS)
def test_samples_agree_with_torch(client, name, dtype):
    for sample in samples(name, dtype):
        assert_same(evaluated(remote, sample, client), evaluated(F, sample), TOLERANCES[dtype])


@pytest.mark.parametrize(("kind", "dtype", "reduction"), pairs(PROBLEMS, HALVES, REDUCTIONS))
def test_halves_are_no_worse_than_torch(client, kind, dtype, reduction):
    case = problem(kind, dtype=dtype)
    ours, theirs = evaluated(remote, case, client, reduction=reduction), evaluated(F, case, reduction=reduction)
    truth = evaluated(F, case.to(torch.float64), reduction=reduction)
    for mine, yours, exact in zip(ours, theirs, truth, strict=True):
        assert mine.dtype == yours.dtype == dtype
        assert_no_worse(mine, yours, exact)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_autocast_gives_float32_losses(client, kind, dtype):
    case = problem(kind, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = evaluated(remote, case, client), evaluated(F, case)
    truth = evaluated(F, case.to(torch.float64))
    for mine, yours, exact in zip(ours, theirs, truth, strict=True):
        assert mine.dtype == yours.dtype
        assert_no_worse(mine, yours, exact)


def test_loss_scale_saves_float16_gradients(client):
    logits = torch.zeros(4096, 1000, dtype=torch.float16, requires_grad=True)  # 1e-3 / 4096 is 0 in float16
    target = torch.zeros(4096, dtype=torch.int64)
    scale = 2.0**14
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (remote.cross_entropy(logits, target, client=client) * scale).backward()
    expected = (torch.full((1000,), 1e-3) - torch.eye(1000)[0]) / 4096 * scale
    torch.testing.assert_close(present(logits.grad)[0].float(), expected, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("dtype", [*TOLERANCES, *HALVES])
def test_input_need_not_be_contiguous(client, dtype):
    case = problem("cross_entropy", (4, 5, 3), dtype)
    plain = evaluated(remote, case, client)
    logits = case.input.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    assert not logits.is_contiguous()
    loss = remote.cross_entropy(logits, case.target.t().contiguous().t(), **case.options, client=client)
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss == plain[0]
    torch.testing.assert_close(-grad, plain[1], atol=0, rtol=0)  # the incoming gradient was -1


@pytest.mark.parametrize("kind", PROBLEMS)
def test_deprecated_arguments_warn(client, kind):
    case = problem(kind)
    for size_average, reduce in itertools.product((None, True, False), (None, True, False)):
        legacy = {"size_average": size_average, "reduce": reduce}
        with warnings.catch_warnings(record=True, action="always") as expected:
            theirs = evaluated(F, case, **legacy)
        with warnings.catch_warnings(record=True, action="always") as caught:
            ours = evaluated(remote, case, client, **legacy)
        assert_same(ours, theirs, 1e-12)
        assert [(w.category, str(w.message)) for w in caught] == [(w.category, str(w.message)) for w in expected]


LOGITS, TARGET = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": [[1.0, 2.0]]}, "input: expected a tensor, got a list"),
        ({"target": [0, 1, 2]}, "target: expected a tensor, got a list"),
        ({"target": None}, "target: expected a tensor, got a NoneType"),
        ({"weight": "balanced"}, "weight: expected a tensor, got a str"),
        ({"input": LOGITS.long()}, "input: expected one of the dtypes float64, .*, got int64"),
        ({"input": LOGITS.to("meta")}, "input: expected an array, got a Tensor: .*Cannot copy out of meta tensor"),
        ({"target": TARGET + 4}, r"target: expected classes in \[0, 4\) .*, got 4 at row 0"),
        ({"weight": LOGITS[0, :2]}, r"weight: expected shape \(4,\), .*, got \(2,\)"),
        ({"weight": LOGITS[0].clone().requires_grad_()}, "weight: expected a tensor that requires no gradient"),
        ({"target": LOGITS.clone().requires_grad_()}, "target: expected a tensor that requires no gradient"),
        ({"reduction": "avg"}, "reduction: expected one of 'none', 'mean', 'sum', got 'avg'"),
        ({"label_smoothing": 2.0}, r"label_smoothing: expected a number in \[0, 1\], got 2.0"),
        ({"client": "localhost:50051"}, "client: expected a Client or None, got a str"),
    ],
)
def test_wrong_value_is_refused_by_its_name(client, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message) as raised:
        remote.cross_entropy(**{"input": LOGITS, "target": TARGET, "client": client, **arguments})
    assert message.startswith(raised.value.argument)


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        ("cross_entropy", {"input": [[1.0, 2.0]]}),
        ("cross_entropy", {"target": TARGET + 4}),
        ("cross_entropy", {"target": TARGET - 1}),
        ("cross_entropy", {"target": TARGET[:2]}),
        ("cross_entropy", {"target": LOGITS[:2]}),
        ("cross_entropy", {"target": TARGET[:, None]}),
        ("cross_entropy", {"weight": LOGITS[0, :2]}),
        ("cross_entropy", {"label_smoothing": 2.0}),
        ("cross_entropy", {"reduction": "avg"}),
        ("cross_entropy", {"target": LOGITS, "ignore_index": 1}),
        ("nll_loss", {"target": TARGET + 4}),
        ("nll_loss", {"target": LOGITS}),
        ("nll_loss", {"weight": LOGITS[0, :2]}),
        ("binary_cross_entropy", {"target": LOGITS[:2]}),
        ("binary_cross_entropy", {"input": LOGITS - 1, "target": LOGITS}),
        ("binary_cross_entropy", {"target": LOGITS, "weight": LOGITS[0, :3]}),
        ("binary_cross_entropy_with_logits", {"target": LOGITS[:2]}),
        ("binary_cross_entropy_with_logits", {"target": LOGITS, "pos_weight": LOGITS[0, :3]}),
        ("binary_cross_entropy_with_logits", {"target": LOGITS, "reduction": "avg"}),
    ],
)
def test_our_errors_are_those_of_torch(client, loss, arguments):
    arguments = {"input": LOGITS, "target": TARGET, **arguments}
    with pytest.raises((ValueError, RuntimeError, IndexError, TypeError)) as theirs:
        getattr(F, loss)(**arguments)
    with pytest.raises(theirs.type) as ours:
        getattr(remote, loss)(**arguments, client=client)
    assert isinstance(ours.value, TorchArgumentError)
    assert isinstance(ours.value.__cause__, InvalidArgumentError)
    assert str(ours.value).startswith(f"{ours.value.argument}: expected")
