"""The compiled kernels: their conversions, their steps and parts, and their replacement if they cannot be compiled."""

import math

import pytest
import torch

import ce_engine
from tests.ce_engine.helpers import FLOATS, HALVES, PROBLEMS, Problem, problem
from tests.pairs import pairs
from tests.present import present

STEP, GROUP = 32, 16  # classes, and rows of fewer classes, that are computed at a time in float32
BLOCK = 8 * GROUP
SEGMENT = 2**12  # as in native/launch.h

pytestmark = pytest.mark.usefixtures("each_library")


def every(dtype):
    """All numbers of a half-precision dtype, also NaNs and infinities."""
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)


def same_bits(a, b):
    return torch.equal(a.nan_to_num(12345.0), b.nan_to_num(12345.0)) and torch.equal(a.isnan(), b.isnan())


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_read_as_it_is(dtype):
    numbers = every(dtype)
    result = ce_engine.cross_entropy(numbers[:, None], torch.zeros(2**16, dtype=torch.int64), outputs=("lse",))
    assert same_bits(result.lse, numbers.float())  # with one class this is the logit


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_rounded_to_once(dtype):
    factors = every(dtype).float()
    between = torch.cat([factors * (1 + share) for share in (0, 2**-12, -(2**-9), 1e-3, 0.37)])
    logits, target = torch.zeros(len(between), 2, dtype=dtype), torch.zeros(len(between), dtype=torch.int64)
    rounded, exact = (
        present(
            ce_engine.cross_entropy(
                logits, target, reduction="none", grad=True, grad_output=between, grad_dtype=grad_dtype
            ).grad
        )
        for grad_dtype in (dtype, torch.float32)
    )
    finite = between.isfinite()
    expected = torch.stack([-between / 2, between / 2], 1)
    torch.testing.assert_close(exact[finite], expected[finite], rtol=0, atol=2**-149)  # float32's smallest number
    assert same_bits(rounded, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize(
    "classes", [1, 2, STEP - 1, STEP, STEP + 1, 2 * STEP, 3 * STEP + 7, SEGMENT - 1, SEGMENT, SEGMENT + STEP + 1]
)
def test_any_number_of_classes_is_exact(classes, dtype):
    logits, target = (torch.randn(5, classes) * 4).to(dtype), torch.randint(classes, (5,))
    ours = ce_engine.cross_entropy(
        logits, target, reduction="none", grad=True, grad_dtype=torch.float32, outputs=("lse",)
    )
    truth = ce_engine.cross_entropy(logits.double(), target, reduction="none", grad=True, outputs=("lse",))
    for name in ("loss", "lse", "grad"):
        torch.testing.assert_close(getattr(ours, name).double(), getattr(truth, name), rtol=1e-6, atol=1e-6)


def test_million_classes_are_as_exact_as_few():
    logits, target = torch.randn(2, 1_000_000), torch.tensor([0, 999_999])
    ours, truth = (ce_engine.cross_entropy(x, target, reduction="none").loss for x in (logits, logits.double()))
    torch.testing.assert_close(ours.double(), truth, rtol=3e-7, atol=0)


@pytest.mark.parametrize("classes", [40, 3 * SEGMENT])
def test_masked_classes_count_nothing(classes):
    logits = torch.randn(4, classes)
    logits[0, : classes // 2] = -math.inf
    logits[1, classes // 2 :] = -math.inf
    logits[2, :-1] = -math.inf
    logits[3] -= 1e4  # far from 0, as they may be before a mask is added
    target = torch.tensor([classes - 1, 0, classes - 1, 1])
    ours = ce_engine.cross_entropy(logits, target, reduction="none", grad=True)
    truth = ce_engine.cross_entropy(logits.double(), target, reduction="none", grad=True)
    torch.testing.assert_close(ours.loss.double(), truth.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(present(ours.grad).double(), truth.grad, rtol=1e-5, atol=1e-7)
    assert (present(ours.grad)[logits == -math.inf] == 0).all()


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2**15, 2**15 + 1])
def test_streamed_gradients_have_the_bits(classes, dtype, loss):
    """Streamed gradients are written past the caches."""
    evaluate = getattr(ce_engine, loss)
    rows = 2**22 // (classes * dtype.itemsize) + 3  # enough for `passes_caches` of native/launch.h
    logits, target = torch.randn(rows, classes).to(dtype), torch.randint(classes, (rows,))
    grad = present(evaluate(logits, target, reduction="sum", grad=True).grad)
    for row in (0, 1, rows - 1):
        alone = evaluate(logits[row], target[row], reduction="sum", grad=True).grad
        assert torch.equal(grad[row], present(alone))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize(
    "classes", [3, STEP - 1, STEP, STEP + 1, 2 * STEP, 2 * STEP + 1, 3 * STEP + 7, SEGMENT + STEP + 1]
)
def test_rows_side_by_side_have_the_bits(classes, dtype):
    """The bits are the same as for rows that lie one after the other."""
    positions = BLOCK + GROUP + 3
    logits = (torch.randn(2, positions, classes) * 4).to(dtype)
    logits[0, 1] = -math.inf
    logits[0, 2, 0] = math.inf
    logits[0, 3, -1] = math.nan
    target = torch.randint(classes, (2, positions))
    target[:, ::5] = -1
    weight, incoming = torch.rand(classes), torch.rand(2, positions)

    def evaluate(x, y, grad_output):
        return ce_engine.cross_entropy(
            x,
            y,
            weight,
            ignore_index=-1,
            reduction="none",
            grad=True,
            grad_output=grad_output,
            outputs=("lse", "target_log_probabilities", "target_ranks"),
            top_k=3,
            z_loss=0.01,
        )

    after = evaluate(logits.flatten(0, 1), target.flatten(), incoming.flatten())
    beside = evaluate(logits.mT.contiguous(), target, incoming)
    assert same_bits(beside.loss.flatten(), after.loss)
    for name in ("lse", "target_log_probabilities", "target_ranks", "top_log_probabilities", "top_classes"):
        ours, theirs = getattr(beside, name), getattr(after, name)
        assert same_bits(ours.reshape(theirs.shape), theirs), name
    assert same_bits(beside.grad.mT.reshape(after.grad.shape), after.grad)


@pytest.mark.parametrize("positions", [1, GROUP - 1, GROUP, GROUP + 1, BLOCK, 1000])
@pytest.mark.parametrize("classes", [1, 2, STEP // 2, STEP - 1, STEP, 40])
def test_any_number_of_positions_is_exact(positions, classes):
    logits, target = torch.randn(3, classes, positions), torch.randint(classes, (3, positions))
    target[1, 0] = -100
    ours, truth = (
        ce_engine.cross_entropy(x, target, reduction="sum", grad=True, outputs=("lse", "predictions"))
        for x in (logits, logits.double())
    )
    torch.testing.assert_close(ours.loss.double(), truth.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(present(ours.lse).double(), truth.lse, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(present(ours.grad).double(), truth.grad, rtol=1e-6, atol=1e-6)
    assert torch.equal(present(ours.predictions), present(truth.predictions))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [1, 3, 5, GROUP, GROUP + 3])
@pytest.mark.parametrize("classes", [1, 3, 4, 5, 13, STEP - 1])
def test_short_rows_are_exact(classes, rows, dtype):
    """Rows of less than a step are transposed in tiles of 4 x 4, and so are their gradients and probabilities."""
    logits, target = torch.randn(rows, classes).to(dtype), torch.randint(classes, (rows,))
    outputs = ("probabilities", "log_probabilities")
    ours = ce_engine.cross_entropy(logits, target, reduction="sum", grad=True, outputs=outputs)
    truth = logits.double().requires_grad_()
    torch.nn.functional.cross_entropy(truth, target, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, present(truth.grad).to(dtype))
    torch.testing.assert_close(present(ours.probabilities).double(), truth.detach().softmax(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        present(ours.log_probabilities).double(), truth.detach().log_softmax(1), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "dtype"), pairs(PROBLEMS, HALVES))
def test_halves_have_the_bits_of_the_same_numbers_in_float32(kind, dtype):
    given = problem(kind, (9, 100), dtype)
    wide = Problem(given.loss, given.input.float(), given.target, given.options)
    results = [one.ours(reduction="none", grad_dtype=torch.float32) for one in (given, wide)]
    assert torch.equal(results[0].loss, results[1].loss)
    assert torch.equal(present(results[0].grad), present(results[1].grad))


def test_images_are_evaluated_in_place():
    logits, target = torch.randn(2, 40, 50, 70), torch.randint(40, (2, 50, 70))
    with torch.profiler.profile() as profile:
        ours = ce_engine.cross_entropy(logits, target, grad=True)
    called = {event.key for event in profile.key_averages()}
    assert "aten::empty" in called  # so that copies would be seen
    assert not called & {"aten::copy_", "aten::clone", "aten::contiguous"}
    expected = logits.requires_grad_()
    torch.nn.functional.cross_entropy(expected, target).backward()
    torch.testing.assert_close(ours.grad, expected.grad)
