"""Numbers that users know, from PyTorch's documentation and from textbooks."""

import pytest
import torch
from torch import tensor

import ce_engine
from tests.present import present


def rounded(loss):
    return round(float(loss), 4)


def test_batch_of_three_by_hand():
    logits = tensor([[0.3321, 0.5043, -1.1833], [-2.1702, -1.8563, 1.0706], [1.7341, 0.2554, -1.3358]])
    result = ce_engine.cross_entropy(logits, tensor([1, 2, 0]), grad=True)
    assert rounded(result.loss) == 0.3458
    torch.testing.assert_close(result.grad, (logits.softmax(1) - torch.eye(3)[[1, 2, 0]]) / 3)


@pytest.mark.parametrize(("weight", "loss"), [(None, 1.7955), ([1.0, 9.0], 1.1617)])
def test_k_dimensional_batch(weight, loss):
    input, target = tensor([[[1.0, 2], [3, 5]], [[4, 7], [4, 6]]]), tensor([[0, 0], [1, 1]])
    assert rounded(ce_engine.cross_entropy(input, target, None if weight is None else tensor(weight)).loss) == loss


def test_logits_of_one_two_three():
    logits = tensor([1.0, 2.0, 3.0])
    result = ce_engine.cross_entropy(logits, tensor(2), grad=True, outputs=["log_probabilities"])
    assert rounded(result.loss) == 0.4076
    assert [rounded(x) for x in present(result.log_probabilities)] == [-2.4076, -1.4076, -0.4076]
    torch.testing.assert_close(result.grad, logits.softmax(0) - tensor([0.0, 0.0, 1.0]))


def test_nll_of_any_numbers():
    assert ce_engine.nll_loss(tensor([[2.0, 3, 1], [3, 7, 9]]), tensor([1, 2])).loss == -6
    images = tensor([[[2.0, 3], [1, 5]], [[3, 7], [1, 9]]])
    assert ce_engine.nll_loss(images, tensor([[1, 1], [0, 0]])).loss == -4


def test_two_by_two_both_ways():
    input, target = tensor([[0.6, 0.1], [0.3, 0.8]]), tensor([[0.0, 1.0], [1.0, 0.0]])
    assert rounded(ce_engine.binary_cross_entropy(input, target).loss) == 1.5081
    assert rounded(ce_engine.binary_cross_entropy_with_logits(input, target).loss) == 0.8518


def test_elements_weighted_by_their_targets():
    input = tensor([[0.1531, 0.3302, 0.7537], [0.2200, 0.6875, 0.2268], [0.5109, 0.5873, 0.9275]])
    target = tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    weight = torch.where(target == 1, 0.9, 0.1)
    assert rounded(ce_engine.binary_cross_entropy(input, target, weight).loss) == 0.4621


@pytest.mark.parametrize(("input", "loss"), [([0.95, 0.73, 0.05], 0.4173), ([0.3, 0.5, 0.7], 3.1011)])
def test_several_labels_at_once(input, loss):
    target = tensor([1.0, 1.0, 0.0])
    assert rounded(ce_engine.binary_cross_entropy(tensor(input), target, reduction="sum").loss) == loss


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_sigmoid_is_softmax_of_two_channels(reduction):
    torch.manual_seed(0)
    logits, positive = torch.randn(2, 4, 5, dtype=torch.float64), torch.randint(2, (2, 4, 5))
    one = ce_engine.binary_cross_entropy_with_logits(logits, positive.double(), reduction=reduction, grad=True)
    channels = torch.stack([torch.zeros_like(logits), logits], 1)
    two = ce_engine.cross_entropy(channels, positive, reduction=reduction, grad=True)
    torch.testing.assert_close(one.loss, two.loss, atol=1e-14, rtol=1e-14)
    torch.testing.assert_close(one.grad, present(two.grad)[:, 1], atol=1e-14, rtol=1e-14)
