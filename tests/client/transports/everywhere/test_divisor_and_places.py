"""By every transport: what a mean is divided by, and the largest classes of logits."""

import numpy as np
import pytest

from tests.client.transports.everywhere import truth
from tests.present import present

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [256, 300])
def test_as_many_of_the_largest_classes_as_may_be_wanted(classes, everywhere):
    logits, target = RNG.standard_normal((9, classes)), RNG.integers(0, classes, 9)
    result = everywhere("cross_entropy", logits, target, top_k=256, outputs=("target_ranks",))
    order = np.argsort(-logits, 1)
    np.testing.assert_array_equal(present(result.top_classes), order[:, :256])
    np.testing.assert_array_equal(present(result.target_ranks), 1 + (order == target[:, None]).argmax(1))
    log_p = truth.tensor(logits).log_softmax(1).topk(256).values
    np.testing.assert_allclose(present(result.top_log_probabilities), log_p, 1e-12, 1e-12)


@pytest.mark.parametrize(
    ("loss", "input", "target"),
    [
        ("nll_loss", np.log(RNG.dirichlet(np.ones(8), 30)), RNG.integers(0, 8, 30)),
        ("binary_cross_entropy", RNG.random((30, 8)), RNG.random((30, 8))),
        ("binary_cross_entropy_with_logits", RNG.standard_normal((30, 8)), RNG.random((30, 8))),
    ],
)
def test_divisor_takes_the_place_of_the_means_own(loss, input, target, everywhere):
    result, total = (
        everywhere(loss, input, target, grad=True, **options) for options in ({"divisor": 7.0}, {"reduction": "sum"})
    )
    np.testing.assert_allclose(result.loss, total.loss / 7, 1e-15)
    np.testing.assert_allclose(present(result.grad), present(total.grad) / 7, 1e-14)
    assert result.loss_sum == total.loss_sum
