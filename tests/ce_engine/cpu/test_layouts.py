"""Layouts of the arguments in memory, numbers of blocks, and integer dtypes of targets."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine._rows import BLOCK_BYTES
from tests.ce_engine.helpers import FLOATS, INTEGERS, PROBLEMS, REDUCTIONS, Problem, assert_close, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

# Each turns the shape (6, 7, 8) into another shape or order of strides.
ARRANGEMENTS = {
    "class last in memory": lambda x: x.mT.contiguous().mT,
    "every other position": lambda x: x[:, :, ::2],
    "odd offset": lambda x: x[::2, 1:],
    "permuted": lambda x: x.movedim(0, 2),
    "one row repeated": lambda x: x[:1].expand(4, 7, 8),
    "one class repeated": lambda x: x[:, :1].expand(6, 5, 8),
    "diagonal": lambda x: x.diagonal(),
}


@pytest.mark.parametrize(("kind", "arrangement", "reduction"), pairs(PROBLEMS, ARRANGEMENTS, REDUCTIONS))
def test_input_need_not_be_contiguous(kind, arrangement, reduction):
    memory = torch.randn(6, 7, 8, dtype=torch.float64)
    input = ARRANGEMENTS[arrangement](memory.sigmoid_() if kind == "binary" else memory)
    given = problem(kind, tuple(input.shape))
    given = Problem(given.loss, input, given.target, given.options)
    assert not input.is_contiguous()
    assert_close(given.ours(reduction=reduction), *given.theirs(reduction=reduction), 1e-12)


def test_input_may_be_a_negated_view():
    lazy = torch._neg_view(torch.randn(4, 5))
    assert lazy.is_neg()
    target = torch.tensor([0, 1, 2, 3])
    ours, plain = (ce_engine.cross_entropy(x, target, grad=True) for x in (lazy, lazy.resolve_neg()))
    assert torch.equal(ours.loss, plain.loss)
    assert torch.equal(present(ours.grad), present(plain.grad))


@pytest.mark.parametrize("dtype", FLOATS[:2])
@pytest.mark.parametrize("name", ["weight", "pos_weight", "sample_weight"])
def test_factors_of_rows_may_be_negated_views(name, dtype):
    logits, target, factors = (torch.rand(4, 5, dtype=dtype) for _ in range(3))
    options: list[dict[str, Any]] = [{name: x} for x in (torch._neg_view(factors), -factors)]
    ours, plain = (ce_engine.binary_cross_entropy_with_logits(logits, target, grad=True, **own) for own in options)
    assert torch.equal(ours.loss, plain.loss)
    assert torch.equal(present(ours.grad), present(plain.grad))


@pytest.mark.parametrize(("kind", "offset", "dtype"), pairs(PROBLEMS, (1, 3, 7), FLOATS[1:]))
def test_any_address_gives_the_same_bits(kind, offset, dtype):
    def moved(x):
        return torch.cat([x.new_zeros(offset), x.flatten()])[offset:].view(x.shape)

    given = problem(kind, (9, 37), dtype)
    options = {name: moved(x) if isinstance(x, torch.Tensor) else x for name, x in given.options.items()}
    elsewhere = Problem(given.loss, moved(given.input), moved(given.target), options)
    ours, theirs = (x.ours(reduction="none") for x in (given, elsewhere))
    assert torch.equal(ours.loss, theirs.loss)
    assert torch.equal(present(ours.grad), present(theirs.grad))


@pytest.mark.parametrize("kind", PROBLEMS)
def test_targets_may_have_strides(kind):
    def spread(x):
        return x[..., None].repeat_interleave(2, -1)[..., 0] if isinstance(x, torch.Tensor) else x

    given = problem(kind)
    options = {name: spread(x) for name, x in given.options.items()}
    result = Problem(given.loss, given.input, spread(given.target), options).ours(reduction="none")
    plain = given.ours(reduction="none")
    assert torch.equal(result.loss, plain.loss)
    assert torch.equal(present(result.grad), present(plain.grad))


@pytest.mark.parametrize(
    "shape",
    [
        (3 * BLOCK_BYTES // 800 + 1, 100),  # several blocks, the last a part of one
        (3, BLOCK_BYTES // 8 + 1),  # rows larger than a block
        (5, 64, 600),  # a block of several samples, and one that does not fill up
        (2, 64, 5000),  # several blocks a sample
    ],
)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_input_of_many_blocks_is_as_one(kind, shape):
    given = problem(kind, shape)
    assert_close(given.ours(reduction="none"), *given.theirs(reduction="none"), 1e-12)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "nll_loss"])
def test_target_may_be_of_any_integer_dtype(kind, dtype):
    given = problem(kind, (2, 5, 3))
    narrow = Problem(given.loss, given.input, given.target.to(dtype), given.options)
    assert_close(narrow.ours(), given.ours().loss, given.ours().grad, 0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8])
@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "nll_loss"])
def test_ignored_target_of_any_signed_dtype(kind, dtype):
    given = problem(kind)
    narrow = Problem(given.loss, given.input, given.target.to(dtype), given.options)
    assert narrow.ours().ignored_count == given.ours().ignored_count == 3
    assert_close(narrow.ours(), given.ours().loss, given.ours().grad, 0)


ONES = ((3, 40, 1), (3, 5, 1), (1, 40, 3), (1, 40, 1), (3, 1, 1), (2, 40, 1, 1))  # PyTorch's strides mean nothing there


@pytest.mark.parametrize(("kind", "shape", "reduction"), pairs(PROBLEMS, ONES, REDUCTIONS))
def test_dimensions_of_size_one(kind, shape, reduction):
    given = problem(kind, shape)
    assert_close(given.ours(reduction=reduction), *given.theirs(reduction=reduction), 1e-12)
