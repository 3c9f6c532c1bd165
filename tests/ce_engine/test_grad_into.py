"""A gradient that is written into the caller's memory."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, InvalidArgumentError, slabs
from tests.ce_engine.helpers import FLOATS, PROBLEMS, SHAPES, Problem, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


def slab(given: Problem, **more: Any) -> ce_engine.Slab:
    made: ce_engine.Slab = getattr(slabs, given.loss)(
        given.input, given.target, **{"grad": True, **given.options, **more}
    )
    return made


def garbage(given: Problem, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Memory of the gradient's shape with garbage, so that elements that are not written show."""
    return torch.full(given.input.shape, float("nan"), dtype=dtype or given.input.dtype)


@pytest.mark.parametrize(("kind", "dtype", "shape"), pairs(PROBLEMS, FLOATS, SHAPES))
def test_given_memory_gets_the_same_bits(kind, dtype, shape):
    given = problem(kind, SHAPES[shape][0], dtype)
    memory = garbage(given)
    result = ce_engine.evaluate(slab(given), grad_into=memory)
    expected = given.ours()
    assert result.grad is memory
    assert torch.equal(memory, present(expected.grad))
    assert torch.equal(result.loss, expected.loss) or expected.loss.isnan()


@pytest.mark.parametrize("grad_dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_given_memory_of_another_dtype(kind, grad_dtype):
    given = problem(kind, (4, 5, 3), torch.bfloat16)
    memory = garbage(given, grad_dtype)
    ce_engine.evaluate(slab(given, grad_dtype=grad_dtype), grad_into=memory)
    assert torch.equal(memory, present(given.ours(grad_dtype=grad_dtype).grad))


def test_slabs_of_a_launch_keep_to_their_memory():
    given = problem("cross_entropy", (4, 5), torch.float32)
    memories = [garbage(given) for _ in range(20)]
    with Engine(max_queue_delay_us=100_000, max_batch_rows=40) as engine:
        futures = [engine.submit(slab(given).with_grad_into(memory)) for memory in memories]
        assert all(future.result().grad is memory for future, memory in zip(futures, memories, strict=True))
    assert all(torch.equal(memory, present(given.ours().grad)) for memory in memories)


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (torch.empty(4, 5), "expected float64 of shape"),
        (torch.empty(5, 4, dtype=torch.float64), "got float64 of shape \\(5, 4\\)"),
        (torch.empty(5, 4, dtype=torch.float64).T, "contiguous"),
        (torch.empty(4, 5, dtype=torch.float64, requires_grad=True), "autograd"),
    ],
    ids=["dtype", "shape", "strides", "graph"],
)
def test_memory_that_does_not_fit_is_refused(memory, said):
    with pytest.raises(InvalidArgumentError, match=said) as raised:
        ce_engine.evaluate(slab(problem("cross_entropy", (4, 5))), grad_into=memory)
    assert raised.value.argument == "grad_into"


def test_memory_without_grad_is_refused():
    given = problem("cross_entropy", (4, 5))
    with pytest.raises(InvalidArgumentError, match="grad=True"):
        ce_engine.evaluate(slab(given, grad=False), grad_into=garbage(given))
