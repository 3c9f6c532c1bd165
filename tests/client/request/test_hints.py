"""Errors say what a caller may have meant, whichever side refuses the call."""

from typing import Any

import numpy as np
import pytest

from losswire_client import Client, InvalidArgumentError, testing
from tests.client.request.verdicts import unchecked
from tests.client.request.wrong_calls import RIGHT

BINARY = "use binary_cross_entropy_with_logits, and for one probability binary_cross_entropy, with a target of floats"
LAST = "if the classes are the input's last dimension, pass np.moveaxis(input, -1, 1), or input.movedim(-1, 1)"
IMAGES = np.zeros((2, 3, 5, 7), np.float32)


def ignoring(index: int) -> str:
    return f"if rows with it are to be ignored, pass ignore_index={index}"


HINTED: dict[str, tuple[Any, ...]] = {
    "classes last": ("cross_entropy", np.zeros((2, 5, 3)), np.zeros((2, 5), int), LAST),
    "classes last of images": ("nll_loss", np.moveaxis(IMAGES, 1, -1), np.zeros((2, 5, 7), np.uint8), LAST),
    "-1": ("cross_entropy", np.zeros((3, 2)), [0, -1, 1], ignoring(-1)),
    "255": ("cross_entropy", IMAGES, np.full((2, 5, 7), 255, np.uint8), ignoring(255)),
    "255 of one row": ("nll_loss", np.zeros(3), np.array(255), ignoring(255)),
    "-100 beside another": ("cross_entropy", np.zeros((2, 3)), [0, -100], ignoring(-100), {"ignore_index": -1}),
    "the first of two": ("cross_entropy", np.zeros((3, 3)), [0, -2, 255], ignoring(-2)),
    "counted from 1": ("cross_entropy", np.zeros((3, 2)), [1, 2, -100], "counted from 1, pass target - 1"),
    "one logit a row": ("cross_entropy", np.zeros(4), np.array([0, 1, 1, 0]), BINARY),
    "one logit a row, column": ("cross_entropy", np.zeros((4, 1)), np.array([0, 1, 1, 0]), BINARY),
    "one logit a row, columns": ("nll_loss", np.zeros((4, 1)), np.zeros((4, 1), int), BINARY),
    "one logit a row, floats": ("cross_entropy", np.zeros((4, 1)), np.array([0, 1, 1, 0], np.float32), BINARY),
    "one log-probability a row, floats": ("nll_loss", np.zeros(4), np.array([0, 1, 1, 0], np.float32), BINARY),
    "classes as floats": ("nll_loss", np.zeros((2, 3)), np.array([0, 1], np.float32), "in target.astype('int64')"),
    "classes as floats, which are no probabilities": (
        "cross_entropy",
        np.zeros((2, 3)),
        np.array([0, 1], np.float64),
        "in target.astype('int64')",
    ),
    "one-hot": (
        "cross_entropy",
        np.zeros((2, 3)),
        np.eye(3, dtype=int)[:2],
        "if they are one-hot, pass target.argmax(1)",
    ),
    "column": ("cross_entropy", np.zeros((2, 3)), np.array([[0], [2]]), "pass target.reshape(-1)"),
    "tokens": ("cross_entropy", np.zeros((6, 3)), np.zeros((2, 3), int), "pass target.reshape(-1)"),
}
UNHINTED: dict[str, tuple[Any, ...]] = {
    "class too large": ("cross_entropy", np.zeros((3, 2)), [0, 2, 1]),
    "class too large of a single row": ("cross_entropy", np.zeros((1, 2)), [2]),
    "class far too large": ("cross_entropy", np.zeros((3, 2)), [1, 7, 1]),
    "target too short": ("cross_entropy", np.zeros((3, 2)), [0, 1]),
    "target of booleans": ("cross_entropy", np.zeros((3, 2)), np.array([True, False, True])),
    "target of positions": ("cross_entropy", IMAGES, np.zeros((2, 7, 5), int)),
    "binary": ("binary_cross_entropy", np.full((2, 3), 0.5), np.full((2, 3), -1.0)),
    "weighting of probabilities": ("cross_entropy", np.zeros((2, 3)), np.zeros((2, 3)), {"weight": "balanced"}),
    "scalar": ("cross_entropy", np.zeros(()), [0]),
}


def refusal(client: Client, loss: str, *arguments, **options) -> InvalidArgumentError:
    options = {name: value for each in arguments[2:] if isinstance(each, dict) for name, value in each.items()}
    with pytest.raises(InvalidArgumentError) as raised:
        getattr(client, loss)(*arguments[:2], **options)
    return raised.value


@pytest.fixture(scope="module")
def clients(target):
    with (
        Client(target) as unary,
        Client(target, transport="stream") as stream,
        Client(target, coalesce=True) as coalesce,
    ):
        yield unary, stream, coalesce


@pytest.mark.parametrize("case", HINTED)
def test_hint_ends_the_message(clients, case):
    loss, input, target, hint, *options = HINTED[case]
    here = refusal(clients[0], loss, input, target, *options)
    assert here.hint.endswith(hint)
    assert str(here) == f"{here.args[0]}; {here.hint}"
    with unchecked():
        for client in clients:
            there = refusal(client, loss, input, target, *options)
            assert there.code is not None
            assert str(there) == str(here)


@pytest.mark.parametrize("case", UNHINTED)
def test_no_hint_where_nothing_suggests_itself(clients, case):
    error = refusal(clients[0], *UNHINTED[case])
    assert error.hint == ""
    assert str(error) == error.args[0]


@pytest.mark.parametrize("loss", RIGHT)
def test_right_arguments_need_no_hint(client, loss):
    assert getattr(client, loss)(**RIGHT[loss]).row_count


def test_what_a_hint_says_is_right(client):
    logits = np.random.default_rng(0).standard_normal((2, 5, 3))
    target = np.array([[0, 1, 2, 255, 0], [2, 2, 1, 0, 255]])
    assert client.cross_entropy(np.moveaxis(logits, -1, 1), target, ignore_index=255).ignored_count == 2


def test_wrong_row_counts_from_the_first_slab(clients):
    logits, target = np.zeros((200_000, 3), np.float32), np.zeros(200_000, np.int64)
    target[123_456] = -1
    wrong = np.full(300_000, 0.5)
    wrong[234_567] = 1.5
    with unchecked():
        for client in clients[:2]:
            for options in ({}, {"grad": True}, {"weight": "balanced"}):
                error = refusal(client, "cross_entropy", logits, target, options)
                assert error.args[0].endswith("got -1 at row 123456")
            assert refusal(client, "binary_cross_entropy", wrong, wrong).args[0].endswith("got 1.5 at element 234567")


def test_service_in_the_process_hints_too():
    with testing.Service() as service, service.client() as client:
        assert refusal(client, "cross_entropy", np.zeros((3, 2)), [0, -1, 1]).hint == ignoring(-1)


def test_missing_tail_is_asked_for_by_its_names():
    with Client("127.0.0.1:1") as unconnected, pytest.raises(InvalidArgumentError) as raised:
        unconnected.kl_divergence(np.zeros((2, 3)), np.zeros((2, 1)), target_classes=np.zeros((2, 1), int))
    assert str(raised.value) == "tail: expected renormalize, one_bin, drop with target_classes, got none"
