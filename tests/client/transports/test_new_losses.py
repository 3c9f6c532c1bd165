"""Losses of hidden states, divergences and outputs of targets have the same bits by every transport."""

from collections.abc import Iterator

import numpy as np
import pytest

from losswire_client import Client, Head, Norm
from losswire_client._transports import placement
from tests.helpers import serving

RNG = np.random.default_rng(0)
SLAB_BYTES = 4096  # so that small batches are many slabs
HEAD = Head(RNG.standard_normal((40, 24)).astype(np.float32), norm=Norm("layer", 1e-5), softcap=20)
HIDDEN = RNG.standard_normal((7, 50, 24)).astype(np.float32)
CLASSES = RNG.integers(0, 40, (7, 50))
LOGITS = RNG.standard_normal((7, 50, 40)).astype(np.float32)
OF_TARGETS = ("target_log_probabilities", "target_ranks", "lse", "entropy", "predictions")
WIDE = ("probabilities", "log_probabilities")
FIELDS = ("loss", "grad", *OF_TARGETS, *WIDE, "top_log_probabilities", "top_classes")


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, Client]]:
    transports = ("unary", "stream", "shared_memory")
    with serving(slab_bytes=SLAB_BYTES, allow_head_registration=True) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "LEAST_BYTES", 1)  # small arrays lie in shared memory as well
        clients = {one: Client(f"127.0.0.1:{server.port}", transport=one) for one in transports}
        yield clients
        for client in clients.values():
            client.close()


def first_of_same_bits(clients, call):
    first, *others = (call(client) for client in clients.values())
    for other in others:
        for name in FIELDS:
            a, b = getattr(first, name), getattr(other, name)
            assert (a is None) == (b is None), name
            if a is not None:
                assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
        for name in ("loss_sum", "weight_sum", "row_count", "ignored_count", "correct_count", "z_loss_sum", "exact"):
            assert getattr(first, name) == getattr(other, name), name
    return first


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    "view", [lambda x: x, lambda x: x[:, ::2], lambda x: x.swapaxes(0, 1)], ids=["whole", "strided", "swapped"]
)
def test_hidden_states(clients, view, reduction):
    options = {"grad": True, "outputs": (*OF_TARGETS, *WIDE), "top_k": 3, "z_loss": 0.1, "exact": True}
    hidden, target = view(HIDDEN), view(CLASSES)
    result = first_of_same_bits(
        clients, lambda c: c.linear_cross_entropy(hidden, HEAD, target, reduction=reduction, **options)
    )
    rows = target.shape
    assert result.probabilities.shape == (*rows, 40)
    assert result.top_classes.shape == (*rows, 3)
    np.testing.assert_array_equal(result.top_classes[..., 0], result.predictions)
    np.testing.assert_array_equal(result.target_ranks == 1, result.predictions == target)
    picked = np.take_along_axis(result.log_probabilities, target[..., None], -1)[..., 0]
    np.testing.assert_allclose(result.target_log_probabilities, picked, rtol=1e-5)
    np.testing.assert_allclose(result.z_loss_sum, 0.1 * np.square(result.lse.astype(np.float64)).sum(), rtol=1e-5)


def test_hidden_states_with_probabilities_of_classes(clients):
    target = RNG.dirichlet(np.ones(40), (7, 50)).astype(np.float32)
    result = first_of_same_bits(clients, lambda c: c.linear_cross_entropy(HIDDEN, HEAD, target, grad=True))
    assert result.grad.shape == HIDDEN.shape


def test_one_hidden_state(clients):
    result = first_of_same_bits(
        clients,
        lambda c: c.linear_cross_entropy(HIDDEN[0, 0], HEAD, CLASSES[0, 0], top_k=2, outputs=WIDE),
    )
    assert (result.loss.shape, result.top_classes.shape, result.probabilities.shape) == ((), (2,), (40,))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_divergence_of_logits(clients, reduction):
    options = {"grad": True, "outputs": (*OF_TARGETS, "probabilities"), "top_k": 2, "exact": True, "labels": CLASSES}
    result = first_of_same_bits(
        clients,
        lambda c: c.kl_divergence(
            LOGITS, LOGITS[::-1], temperature=2.0, ignore_index=3, reduction=reduction, **options
        ),
    )
    assert result.ignored_count == (CLASSES == 3).sum()
    assert result.exact.mean_change is not None
    assert result.exact.quantile(0.5) > 0


def test_divergence_of_some_classes(clients):
    classes = np.argsort(-LOGITS, -1)[..., :5]
    target = np.take_along_axis(LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True)), classes, -1)
    for tail in ("renormalize", "one_bin", "drop"):
        result = first_of_same_bits(
            clients,
            lambda c, tail=tail: c.kl_divergence(
                LOGITS[::-1], target, target_classes=classes, tail=tail, divergence="reverse", grad=True
            ),
        )
        assert result.grad.shape == LOGITS.shape


def test_divergence_of_hidden_states(clients):
    options = {"head": HEAD, "target_head": HEAD, "divergence": "jensen_shannon", "beta": 0.3}
    result = first_of_same_bits(clients, lambda c: c.kl_divergence(HIDDEN, HIDDEN[::-1], grad=True, **options))
    assert result.grad.shape == HIDDEN.shape
    assert result.loss > 0


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3), (3, 1200), (9, 3, 400)], ids=str)
def test_outputs_of_targets_of_logits(clients, shape):
    logits = RNG.standard_normal(shape).astype(np.float32)
    target = RNG.integers(0, shape[1], (shape[0], *shape[2:]))
    options = {"outputs": (*OF_TARGETS, *WIDE), "top_k": 3, "reduction": "none", "grad": True}
    result = first_of_same_bits(clients, lambda c: c.cross_entropy(logits, target, **options))
    assert result.top_classes.shape == (*target.shape, 3)
    expected = np.moveaxis(np.argsort(-logits, 1)[:, :3], 1, -1)
    np.testing.assert_array_equal(result.top_classes, expected)


def test_divisor_is_what_the_mean_divides_by(clients):
    divided = first_of_same_bits(clients, lambda c: c.cross_entropy(LOGITS[0], CLASSES[0] % 40, grad=True, divisor=7))
    assert float(divided.loss) == pytest.approx(divided.loss_sum / 7)
    with_head = first_of_same_bits(
        clients, lambda c: c.linear_cross_entropy(HIDDEN, HEAD, CLASSES, grad=True, divisor=7)
    )
    assert float(with_head.loss) == pytest.approx(with_head.loss_sum / 7)


def test_narrow_hidden_states_travel(clients):
    import ml_dtypes

    narrow = HIDDEN.astype(ml_dtypes.bfloat16)
    result = first_of_same_bits(
        clients, lambda c: c.linear_cross_entropy(HIDDEN, HEAD, CLASSES, grad=True, wire_dtype="bfloat16")
    )
    assert result.loss == clients["unary"].linear_cross_entropy(narrow, HEAD, CLASSES).loss
    assert result.grad.dtype == np.float32
