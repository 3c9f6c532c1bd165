"""Losses of hidden states and divergences with autograd: a gradient for the input, and for nothing else."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from losswire_client import Head, Norm, NotServedError
from losswire_client.torch import (
    KlDivergence,
    LinearCrossEntropyLoss,
    TorchArgumentError,
    cross_entropy,
    kl_divergence,
    linear_cross_entropy,
    set_default_client,
)

# A warning of PyTorch's forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

torch.manual_seed(0)
HIDDEN = torch.randn(4, 5, 8, dtype=torch.float64)
WEIGHT, BIAS = torch.randn(11, 8, dtype=torch.float64), torch.randn(11, dtype=torch.float64)
CLASSES = torch.randint(11, (4, 5))
LOGITS, TEACHER = torch.randn(2, 4, 5, 11, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _client(client):
    set_default_client(client)
    yield
    set_default_client(None)


def frozen() -> nn.Linear:
    layer = nn.Linear(8, 11, dtype=torch.float64).requires_grad_(False)
    layer.weight.copy_(WEIGHT)
    layer.bias.copy_(BIAS)
    return layer


def gradient(loss, leaf, incoming=None):
    return torch.autograd.grad(loss, leaf, torch.ones_like(loss) if incoming is None else incoming)[0]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("head", [Head(WEIGHT, BIAS), frozen(), (WEIGHT, BIAS)], ids=["head", "layer", "tensors"])
def test_hidden_states_get_torchs_loss_and_gradient(head, reduction):
    leaf, other = HIDDEN.clone().requires_grad_(), HIDDEN.clone().requires_grad_()
    options = {"label_smoothing": 0.1, "ignore_index": 3, "reduction": reduction}
    ours = linear_cross_entropy(leaf, head, CLASSES, torch.linspace(0, 2, 11), **options)
    theirs = F.cross_entropy(
        F.linear(other, WEIGHT, BIAS).flatten(0, 1), CLASSES.flatten(), torch.linspace(0, 2, 11).double(), **options
    )
    incoming = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs.reshape(ours.shape))
    torch.testing.assert_close(gradient(ours, leaf, incoming), gradient(theirs, other, incoming.reshape(theirs.shape)))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_student_gets_torchs_loss_and_gradient(reduction):
    leaf, other = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    ours = kl_divergence(leaf, TEACHER, temperature=2.0, reduction=reduction)
    rows = F.kl_div((other / 2).log_softmax(-1), (TEACHER / 2).softmax(-1), reduction="none").sum(-1)
    theirs = rows if reduction == "none" else getattr(rows, reduction)()
    incoming = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, leaf, incoming), gradient(theirs, other, incoming))


@pytest.mark.parametrize("divergence", ["forward", "reverse", "jensen_shannon"])
def test_gradient_of_a_divergence_is_that_of_differences(divergence):
    leaf = LOGITS[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kl_divergence(x, TEACHER[0, 0], divergence=divergence), leaf)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_gradients_through_heads_are_those_of_differences(reduction):
    norm = Norm("layer", 1e-5, torch.rand(8, dtype=torch.float64) + 0.5, torch.randn(8, dtype=torch.float64))
    head = Head(WEIGHT, BIAS, norm=norm, softcap=5.0, temperature=1.5)
    options = {"label_smoothing": 0.1, "z_loss": 0.01, "reduction": reduction}
    leaf, target = HIDDEN[0].clone().requires_grad_(), CLASSES[0]
    assert torch.autograd.gradcheck(lambda x: linear_cross_entropy(x, head, target, **options), leaf)
    likely = TEACHER[0, 0].log_softmax(-1).topk(3, dim=-1)
    for divergence in ("forward", "reverse", "jensen_shannon"):
        student = KlDivergence(divergence, head=head, target_head=Head(WEIGHT), reduction=reduction)
        assert torch.autograd.gradcheck(lambda x, of=student: of(x, HIDDEN[1]), leaf)
        for tail in ("renormalize", "one_bin", "drop"):
            some = KlDivergence(divergence, head=head, tail=tail, reduction=reduction)
            values, indices = likely.values.expand(5, 3), likely.indices.expand(5, 3)
            assert torch.autograd.gradcheck(lambda x, of=some, v=values, i=indices: of(x, v, i), leaf)


def test_student_with_a_head_learns_from_a_teacher_with_another():
    student, teacher = Head(WEIGHT, BIAS), Head(WEIGHT * 2)
    leaf, other = HIDDEN.clone().requires_grad_(), HIDDEN.clone().requires_grad_()
    ours = KlDivergence(head=student, target_head=teacher, reduction="sum")(leaf, HIDDEN)
    logits, target = F.linear(other, WEIGHT, BIAS), F.linear(HIDDEN, WEIGHT * 2)
    theirs = F.kl_div(logits.log_softmax(-1), target.log_softmax(-1), reduction="sum", log_target=True)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, leaf), gradient(theirs, other))


def test_labels_and_classes_of_the_target_are_constants():
    top = TEACHER.log_softmax(-1).topk(3)
    leaf = LOGITS.clone().requires_grad_()
    loss = KlDivergence("forward", tail="one_bin", ignore_index=3)(leaf, top.values, top.indices, CLASSES)
    assert (gradient(loss, leaf)[CLASSES == 3] == 0).all()


def test_losses_of_parts_add_up_with_a_divisor():
    whole = linear_cross_entropy(HIDDEN, Head(WEIGHT), CLASSES)
    module = LinearCrossEntropyLoss(Head(WEIGHT))
    parts = [module(HIDDEN[i], CLASSES[i], divisor=CLASSES.numel()) for i in range(4)]
    torch.testing.assert_close(sum(parts), whole)
    logits = F.linear(HIDDEN, WEIGHT).flatten(0, 1)
    halves = [cross_entropy(logits[i::2], CLASSES.flatten()[i::2], divisor=20) for i in range(2)]
    torch.testing.assert_close(sum(halves), whole)


@pytest.mark.parametrize(
    ("call", "argument", "message"),
    [
        (lambda: linear_cross_entropy(HIDDEN, nn.Linear(8, 11).double(), CLASSES), "head", "weight that requires no"),
        (lambda: linear_cross_entropy(HIDDEN, (WEIGHT, BIAS.clone().requires_grad_()), CLASSES), "head", "bias that"),
        (lambda: LinearCrossEntropyLoss(nn.Linear(8, 11)), "head", "freeze it by requires_grad_"),
        (lambda: LinearCrossEntropyLoss(None), "head", "expected a losswire_client.Head"),  # type: ignore[arg-type]
        (lambda: linear_cross_entropy(HIDDEN, WEIGHT, CLASSES), "head", "expected a losswire_client.Head"),  # type: ignore[arg-type]
        (lambda: linear_cross_entropy(HIDDEN, None, CLASSES), "head", "expected a losswire_client.Head"),  # type: ignore[arg-type]
        (lambda: kl_divergence(LOGITS, TEACHER.clone().requires_grad_()), "target", "requires no gradient"),
        (lambda: kl_divergence(LOGITS, TEACHER, divergence="other"), "divergence", "expected one of 'forward'"),
    ],
)
def test_what_gets_no_gradient_is_refused(call, argument, message):
    with pytest.raises(TorchArgumentError, match=message) as raised:
        call()
    assert raised.value.argument == argument


def test_head_of_trained_weights_is_taken_as_it_is():
    layer = nn.Linear(8, 11).double()
    loss = linear_cross_entropy(HIDDEN, Head(layer.weight, layer.bias), CLASSES)
    torch.testing.assert_close(loss, F.cross_entropy(layer(HIDDEN).flatten(0, 1), CLASSES.flatten()))
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(HIDDEN, layer, CLASSES), loss)


def test_layer_that_was_written_to_is_another_head():
    layer = frozen()
    before = linear_cross_entropy(HIDDEN, layer, CLASSES)
    layer.weight.mul_(2)
    after = linear_cross_entropy(HIDDEN, layer, CLASSES)
    torch.testing.assert_close(after, linear_cross_entropy(HIDDEN, Head(WEIGHT * 2, BIAS), CLASSES))
    assert before != after


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_moving_average_is_another_head_after_each_step(name, dtype):
    layer, student = frozen().to(dtype), nn.Linear(8, 11, dtype=dtype)
    for _ in range(2):
        averaged, last = getattr(layer, name).data, getattr(student, name).data
        averaged.mul_(0.5).add_(last, alpha=0.5)
        loss = linear_cross_entropy(HIDDEN.to(dtype), layer, CLASSES)
        copied = Head(layer.weight.clone(), layer.bias.clone())
        torch.testing.assert_close(loss, linear_cross_entropy(HIDDEN.to(dtype), copied, CLASSES), rtol=0, atol=0)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: linear_cross_entropy(x, Head(WEIGHT), CLASSES[0]),
        lambda x: kl_divergence(x, HIDDEN[1]),
        lambda x: cross_entropy(x, CLASSES[0] % 8, z_loss=0.1),
    ],
    ids=["linear_cross_entropy", "kl_divergence", "z_loss"],
)
def test_second_derivatives_are_refused(loss):
    leaf = HIDDEN[0].clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(NotServedError, match=r"second derivatives of .* are not served"):
        torch.autograd.grad(first.sum(), leaf)
    with forward_ad.dual_level(), pytest.raises(NotServedError, match="nor is forward mode"):
        loss(forward_ad.make_dual(HIDDEN[0], HIDDEN[0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_loss_and_gradient_have_the_inputs_dtype(dtype):
    leaf = HIDDEN.to(dtype).requires_grad_()
    loss = linear_cross_entropy(leaf, Head(WEIGHT.float()), CLASSES)
    loss.backward()
    assert (loss.dtype, leaf.grad.dtype) == (dtype, dtype)  # type: ignore[union-attr]
    expected = F.cross_entropy(F.linear(leaf.float(), WEIGHT.float()).flatten(0, 1), CLASSES.flatten())
    torch.testing.assert_close(loss, expected.to(dtype), rtol=1e-2, atol=1e-2)


def test_modules_are_copied_and_pickled_with_their_heads():
    module = LinearCrossEntropyLoss(frozen(), torch.ones(11))
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(again(HIDDEN, CLASSES), module(HIDDEN, CLASSES))
    assert list(module.parameters()) == []
    assert [name for name, _ in module.named_buffers()] == ["weight"]
