"""Options that callers have from PyTorch's `kl_div`, and booleans in place of numbers: errors tell what to use."""

from typing import Any

import numpy as np
import pytest

from losswire_client import InvalidArgumentError

ROW: Any = [[1.0, 2.0]]
NUMBERS = [
    ("kl_divergence", "temperature"),
    ("kl_divergence", "beta"),
    ("kl_divergence", "ignore_index"),
    ("kl_divergence", "divisor"),
    ("kl_divergence", "top_k"),
    ("cross_entropy", "label_smoothing"),
    ("cross_entropy", "z_loss"),
    ("nll_loss", "ignore_index"),
]


@pytest.mark.parametrize(("loss", "option"), NUMBERS)
def test_boolean_is_no_number(client, loss, option):
    target = ROW if loss == "kl_divergence" else [0]
    with pytest.raises(InvalidArgumentError, match=rf"{option}: expected an? (number|integer) of .* bits, got True"):
        getattr(client, loss)(ROW, target, **{option: True})


def test_batchmean_is_told_what_does_as_it(client):
    with pytest.raises(
        InvalidArgumentError, match=r"got 'batchmean'; 'mean' divides by rows, and with divisor="
    ) as raised:
        client.kl_divergence(ROW, ROW, reduction="batchmean")
    assert raised.value.argument == "reduction"


def test_reduction_that_is_an_array_is_refused(client):
    with pytest.raises(InvalidArgumentError, match=r"reduction: expected one of .*, got ndarray"):
        client.kl_divergence(ROW, ROW, reduction=np.zeros(0))


def test_log_target_is_told_what_targets_are(client):
    with pytest.raises(InvalidArgumentError, match="'log_target'; targets are logits, and log-probabilities") as raised:
        client.kl_divergence(ROW, ROW, log_target=True)
    assert raised.value.argument == "log_target"
