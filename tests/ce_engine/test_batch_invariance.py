"""The bits of a row's loss and gradient do not depend on its companions, on its place among them, or on threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def evaluate(input, target, weight, smoothing):
    result = ce_engine.cross_entropy(input, target, weight, reduction="none", label_smoothing=smoothing, grad=True)
    return result.loss, result.grad


@given(
    class_count=st.sampled_from([2, 3, 10, 129, 1000, 50_257]),  # 129: one more than a vector holds; 50,257: GPT-2's
    companions=st.integers(0, 40),
    place=st.integers(0, 40),
    smoothing=st.sampled_from([0.0, 0.1]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    thread_count=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 2**32),
)
def test_row_alone_has_the_bits_of_the_row_in_company(
    class_count, companions, place, smoothing, dtype, thread_count, seed
):
    torch.manual_seed(seed)
    place = min(place, companions)
    input = (torch.randn(companions + 1, class_count) * 5).to(dtype)
    target, weight = torch.randint(class_count, (companions + 1,)), torch.rand(class_count)
    with threads(2):
        alone = evaluate(input[place : place + 1], target[place : place + 1], weight, smoothing)
    with threads(thread_count):
        together = evaluate(input, target, weight, smoothing)
    assert torch.equal(together[0][place], alone[0][0])
    assert torch.equal(together[1][place], alone[1][0])


@pytest.mark.parametrize("class_count", [50_257, 100_003])  # two rows a block, and one; both enough to split a sum
def test_smoothing_sum_of_a_row_has_the_same_bits_alone_and_on_one_thread(class_count):
    torch.manual_seed(0)
    input, target, weight = torch.randn(8, class_count), torch.zeros(8, dtype=torch.int64), torch.rand(class_count)
    with threads(1):
        together = evaluate(input, target, weight, smoothing=1.0)[0]
    with threads(2):
        alone = [evaluate(input[i : i + 1], target[i : i + 1], weight, smoothing=1.0)[0][0] for i in range(8)]
    assert torch.equal(torch.stack(alone), together)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_have_the_same_bits_wherever_the_class_dimension_is(smoothing):
    rows = torch.randn(6 * 35, 300)
    target, weight = torch.randint(300, (6 * 35,)), torch.rand(300)
    class_second = rows.view(6, 35, 300).mT.contiguous().view(6, 300, 5, 7)
    loss, grad = evaluate(rows, target, weight, smoothing)
    image_loss, image_grad = evaluate(class_second, target.view(6, 5, 7), weight, smoothing)
    assert torch.equal(image_loss.flatten(), loss)
    assert torch.equal(image_grad.flatten(2).mT.reshape(-1, 300), grad)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sums_have_the_same_bits_on_any_number_of_threads(count):
    torch.manual_seed(0)
    input, target = torch.randn(100_000, 5), torch.randint(5, (100_000,))
    with threads(1):
        expected = ce_engine.cross_entropy(input, target).loss_sum
    with threads(count):
        assert ce_engine.cross_entropy(input, target).loss_sum == expected
