"""Requests of a form that was right before have the same answers and errors as if they came first."""

from collections.abc import Callable

import numpy as np
import pytest

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.tensors import encode
from losswire_server.errors import NotServedError
from losswire_server.requests import known
from losswire_server.requests.known import KnownRequests
from losswire_server.requests.needed import unreserved
from tests.server.evaluating import evaluate

Change = Callable[[v1.EvaluateRequest], object]


def request(seed: int = 0, rows: int = 4, change: Change = lambda _: None) -> v1.EvaluateRequest:
    rng = np.random.default_rng(seed)
    message = v1.EvaluateRequest()
    message.spec.reduction = v1.Reduction.REDUCTION_MEAN
    message.spec.cross_entropy.SetInParent()
    encode(rng.standard_normal((rows, 3), np.float32), message.input, "")
    encode(rng.integers(0, 3, rows), message.target, "")
    change(message)
    return message


def answered(requests: KnownRequests, message: v1.EvaluateRequest) -> v1.EvaluateResponse:
    slab, respond, _ = requests.read(message.SerializeToString()).plan(unreserved)
    return respond(ce_engine.evaluate(slab)).message()


def weighted(message: v1.EvaluateRequest) -> None:
    encode(np.array([1, 2, 3], np.float32), message.spec.cross_entropy.weight, "")


def weighed_samples(message: v1.EvaluateRequest) -> None:
    encode(np.arange(len(message.target.data) // 8, dtype=np.float32), message.sample_weight, "")


def with_gradient(message: v1.EvaluateRequest) -> None:
    message.outputs.gradient.SetInParent()
    message.outputs.outputs.append(v1.Output.OUTPUT_ENTROPY)


@pytest.mark.parametrize("change", [lambda _: None, weighted, weighed_samples, with_gradient])
def test_each_request_of_a_form_has_its_own_answer(change):
    requests = KnownRequests()
    for seed in range(5):
        message = request(seed, change=change)
        assert answered(requests, message) == evaluate(message)


def test_other_forms_are_told_apart():
    requests = KnownRequests()
    changes: list[Change] = [lambda _: None, weighted, weighed_samples, with_gradient]
    messages = [request(seed, rows, change=change) for seed in range(3) for rows in (1, 4) for change in changes]
    for message in messages * 2:
        assert answered(requests, message) == evaluate(message)


def test_series_and_sizes_are_those_of_the_request():
    requests = KnownRequests()
    for seed in range(4):
        message = request(seed)
        message.series = f"run-{seed % 2}"
        asked = requests.read(message.SerializeToString())
        assert asked.labels == ("cross_entropy", f"run-{seed % 2}", "float32", "unary")
        assert (asked.elements, asked.targets) == (12, 4)
        asked.plan(unreserved)


@pytest.mark.parametrize(
    ("field", "data", "problem"),
    [
        ("input", b"123", "expected 48 bytes for float32 of shape (4, 3), got 3"),
        ("target", np.full(4, 3).tobytes(), "expected classes in [0, 3) or ignore_index -100, got 3"),
        ("target", b"", "expected 32 bytes for int64 of shape (4,), got 0"),
    ],
)
def test_wrong_elements_are_refused_in_a_known_form(field, data, problem):
    requests, wrong = KnownRequests(), request()
    getattr(wrong, field).data = data
    for _ in range(4):
        answered(requests, request())
        with pytest.raises(FieldError) as raised:
            answered(requests, wrong)
        assert (raised.value.field, problem in raised.value.problem) == (field, True)


def test_unknown_fields_are_refused_beside_a_known_form():
    requests, message = KnownRequests(), request()
    for _ in range(3):
        answered(requests, message)
    with pytest.raises(NotServedError):
        requests.read(message.SerializeToString() + b"\xf8\x07\x01").plan(unreserved)


def test_forms_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(known, "MOST", 2)
    requests = KnownRequests()
    for rows in (1, 2, 3, 4, 1, 1, 1):
        answered(requests, request(0, rows))
        assert len(requests._forms) <= 2


def test_large_weights_are_not_kept():
    requests = KnownRequests()
    for _ in range(3):
        message = request()
        message.ClearField("input")
        encode(np.ones((4, 1000), np.float32), message.input, "")
        encode(np.ones(1000, np.float32), message.spec.cross_entropy.weight, "")
        assert answered(requests, message) == evaluate(message)
    assert not requests._forms
