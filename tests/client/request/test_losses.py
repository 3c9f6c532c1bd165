"""Each loss through the service: PyTorch's arguments in, PyTorch's numbers out. The engine's tests check more cases."""

from unittest import mock

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.nn import functional as F

from losswire_client import Client, InvalidArgumentError
from tests.client.request.verdicts import unchecked
from tests.present import present

LOGITS = torch.tensor([[0.3, 0.5, -1.2], [-2.2, -1.9, 1.1], [1.7, 0.3, -1.3]], dtype=torch.float64)
CLASSES = torch.tensor([1, 2, 0])
POSITIVE = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
CLASS_WEIGHT = torch.tensor([0.5, 1.5, 2.0], dtype=torch.float64)

# As in torch.nn.functional: (name, input, target, options).
CALLS = [
    ("cross_entropy", LOGITS, LOGITS.softmax(1).flip(0), {"weight": CLASS_WEIGHT, "label_smoothing": 0.1}),
    ("nll_loss", LOGITS.log_softmax(1), CLASSES, {"weight": CLASS_WEIGHT, "ignore_index": 1}),
    ("binary_cross_entropy", LOGITS.sigmoid(), POSITIVE, {"weight": CLASS_WEIGHT}),
    (
        "binary_cross_entropy_with_logits",
        LOGITS,
        POSITIVE,
        {"weight": CLASS_WEIGHT, "pos_weight": CLASS_WEIGHT.flip(0)},
    ),
]


def numpy(options):
    return {name: value.numpy() if torch.is_tensor(value) else value for name, value in options.items()}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("name", "input", "labels", "options"), CALLS)
def test_loss_and_gradient_are_those_of_torch(client, name, input, labels, options, reduction):
    leaf = input.clone().requires_grad_()
    expected = getattr(F, name)(leaf, labels, reduction=reduction, **options)
    (expected_grad,) = torch.autograd.grad(expected.sum(), leaf)
    result = getattr(client, name)(input.numpy(), labels.numpy(), reduction=reduction, **numpy(options), grad=True)
    np.testing.assert_allclose(result.loss, expected.detach(), rtol=1e-12)
    np.testing.assert_allclose(result.grad, expected_grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "input", "labels", "options"), CALLS)
def test_sample_weight_scales_the_losses(client, name, input, labels, options):
    evaluate = getattr(client, name)
    plain = evaluate(input.numpy(), labels.numpy(), reduction="none", **numpy(options))
    weight = np.random.default_rng(0).random(plain.loss.shape)
    weighted = evaluate(input.numpy(), labels.numpy(), sample_weight=weight, **numpy(options))
    assert weighted.loss_sum == pytest.approx((plain.loss * weight).sum(), rel=1e-12)
    assert weighted.weight_sum == plain.weight_sum


def test_server_computes_class_weights(client):
    target = np.array([0, 0, 1])
    balanced = client.cross_entropy(LOGITS.numpy(), target, "balanced")
    assert balanced.loss == client.cross_entropy(LOGITS.numpy(), target, [3 / (3 * 2), 3 / (3 * 1), 0]).loss
    complement = client.nll_loss(LOGITS.numpy(), target, "complement")
    assert complement.loss == client.nll_loss(LOGITS.numpy(), target, [1 - 2 / 3, 1 - 1 / 3, 1]).loss


def test_outputs_are_attributes(client):
    names = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
    result = client.cross_entropy(LOGITS.numpy(), CLASSES.numpy(), outputs=names)
    np.testing.assert_allclose(result.lse, LOGITS.logsumexp(1), rtol=1e-12)
    np.testing.assert_allclose(result.entropy, Categorical(logits=LOGITS).entropy(), rtol=1e-12)
    np.testing.assert_allclose(result.probabilities, LOGITS.softmax(1), rtol=1e-12)
    np.testing.assert_allclose(result.log_probabilities, LOGITS.log_softmax(1), rtol=1e-12)
    np.testing.assert_array_equal(result.predictions, LOGITS.argmax(1))
    assert result.correct_count == int((LOGITS.argmax(1) == CLASSES).sum())


def test_output_newer_than_the_server_is_refused(client):
    with (
        unchecked(),
        mock.patch.dict("losswire.losses.OUTPUTS", {"of_tomorrow": 1000}),
        pytest.raises(InvalidArgumentError, match=r"outputs: expected one of .*OUTPUT_TARGET_RANKS, got number 1000"),
    ):
        client.cross_entropy(LOGITS.numpy(), CLASSES.numpy(), outputs=["of_tomorrow"])


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_binary_losses_have_an_entropy(server, transport):
    with Client(f"127.0.0.1:{server.port}", transport=transport) as client:
        calls = [
            client.binary_cross_entropy(LOGITS.sigmoid().numpy(), POSITIVE.numpy(), outputs=["entropy"]),
            client.binary_cross_entropy_with_logits(LOGITS.numpy(), POSITIVE.numpy(), outputs=["entropy"]),
        ]
    for result in calls:
        np.testing.assert_allclose(present(result.entropy), Bernoulli(logits=LOGITS).entropy(), rtol=1e-12)


def test_outputs_are_absent_unless_asked_for(client):
    result = client.cross_entropy(LOGITS.numpy(), CLASSES.numpy())
    assert (result.lse, result.probabilities, result.log_probabilities) == (None, None, None)
    assert (result.entropy, result.predictions, result.correct_count) == (None, None, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.binary_cross_entropy([0.5, 1.5], [1.0, 0.0]), r"input: .*\[0, 1\], got 1.5 at element 1"),
        (lambda c: c.binary_cross_entropy([0.5], [1.0, 0.0]), r"target: expected the input's shape \(1,\), got \(2,\)"),
        (lambda c: c.binary_cross_entropy([0.5], [1.0], outputs=["lse"]), "outputs: expected no 'lse'"),
        (lambda c: c.binary_cross_entropy_with_logits([0.5], [1.0], pos_weight=[1.0, 2.0]), "pos_weight: .*broadcasts"),
        (lambda c: c.binary_cross_entropy_with_logits([0.5], [0.3], "balanced"), "target: expected only 0 and 1"),
        (lambda c: c.nll_loss([[0.5, 0.1]], [[0.5, 0.1]]), "target: expected class indices of an integer dtype"),
        (lambda c: c.cross_entropy([[0.5, 0.1]], [[0.5, 0.1]], "balanced"), "weight: expected numbers for probability"),
    ],
)
def test_wrong_argument_is_refused_by_its_name(client, call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call(client)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_tensors_of_pytorch_go_in_as_they_are(target, dtype, transport):
    logits = torch.randn(64, 3, 50, dtype=dtype).transpose(0, 2)
    classes = torch.randint(0, 3, (50, 64))
    with Client(target, transport=transport) as client:
        result = client.cross_entropy(logits, classes, grad=True)
    expected = F.cross_entropy(logits.double(), classes)
    assert float(result.loss) == pytest.approx(float(expected), rel=1e-5)
    assert present(result.grad).dtype.name == str(dtype).removeprefix("torch.")


def test_array_interface_is_accepted(client):
    class Foreign:  # as in JAX, which takes bfloat16 from ml_dtypes
        dtype = ml_dtypes.bfloat16

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.asarray([[1.0, 2.0, 3.0]], ml_dtypes.bfloat16)

    assert float(client.cross_entropy(Foreign(), [2]).loss) == pytest.approx(0.4076, abs=1e-4)
