"""Any arguments give a result or an error of the tree."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from losswire import v1
from losswire_client import TLS, Client, LosswireError, Retry, Run
from tests.client.request.wrong_calls import RIGHT


class Unconvertible:
    """An array of a library that fails in its own way."""

    def __array__(self, *_: object, **__: Any) -> Any:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise KeyError


class Lost(Unconvertible):
    """An array that fails by DLPack too."""

    def __dlpack_device__(self) -> Any:
        raise LookupError

    __dlpack__ = __dlpack_device__


LONG = 10**5000  # more digits than Python turns into text
NUMBERS = (
    0,
    -1,
    2**63,
    2**70,
    -(2**70),
    LONG,
    True,
    0.5,
    float("nan"),
    float("inf"),
    1e300,
    1j,
    Decimal(1),
    Fraction(1, 3),
)
TEXTS = ("", "a", "mean", "\ud800", "\0", "a" * 1000, "1", b"\xff", b"a", Path("no/such"), Path("\0"), "localhost")
OTHERS: tuple[Any, ...] = (
    None,
    object(),
    object,
    [],
    (),
    {},
    {"a": 1},
    {1, 2},
    [[1.0], [2.0, 3.0]],
    [None],
    ["\ud800"],
    range(3),
    iter([1]),
)
ARRAYS = (
    Unconvertible(),
    Lost(),
    np.array([object()]),
    np.zeros(2, "M8[s]"),
    np.zeros(2, [("a", "f4")]),
    np.zeros((0, 2**62), np.int8),
    torch.zeros(2, 3).to_sparse(),
    torch.zeros(2, 3, device="meta"),
    torch.zeros(2, 3, dtype=torch.complex64),
)
FIXED = (*NUMBERS, *TEXTS, *OTHERS, *ARRAYS)
junk = st.one_of(
    st.integers(0, len(FIXED) - 1).map(FIXED.__getitem__),  # not sampled_from, since Hypothesis turns samples into text
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
)
OF_ALL = ("input", "target", "weight", "reduction", "timeout", "sample_weight", "grad", "grad_output", "outputs")
ARGUMENTS = {
    loss: (*OF_ALL, "empty", "series", "wire_dtype", "exact", *own)
    for loss, own in {
        "cross_entropy": ("ignore_index", "label_smoothing"),
        "nll_loss": ("ignore_index",),
        "binary_cross_entropy": (),
        "binary_cross_entropy_with_logits": ("pos_weight",),
    }.items()
}
losses = st.sampled_from(list(ARGUMENTS))


@pytest.fixture(scope="module")
def unconnected():
    with Client("127.0.0.1:1", retry=None, timeout=5) as client:
        yield client


def attempted(call: Callable[[], Any]) -> Any:
    """The outcome of a call: a result or an error of the tree."""
    try:
        return call()
    except LosswireError as error:
        return error


@settings(max_examples=100)
@given(loss=losses, data=st.data())
def test_any_call_ends_in_the_error_tree(unconnected, loss, data):
    wrong = data.draw(st.dictionaries(st.sampled_from(ARGUMENTS[loss]), junk, min_size=1, max_size=2))
    arguments = RIGHT[loss] | {"grad": True, "reduction": "none"} | wrong
    with pytest.raises(LosswireError, match=r"."):
        getattr(unconnected, loss)(**arguments)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["target", "timeout", "transport", "token", "tls", "retry", "coalesce"]), junk))
def test_any_client_ends_in_the_error_tree(told):
    client = attempted(lambda: Client(**{"target": "127.0.0.1:1", "timeout": 5, "retry": None} | told))
    if isinstance(client, Client):
        assert isinstance(attempted(lambda: client.ping(timeout=0.05)), LosswireError)
        client.close()
    assert str(client)


@settings(max_examples=40)
@given(kind=st.sampled_from([TLS, Retry]), data=st.data())
def test_any_settings_end_in_the_error_tree(kind, data):
    names = {TLS: ("ca", "cert", "key", "server_name"), Retry: ("seconds", "first_pause", "longest_pause")}[kind]
    told = data.draw(st.dictionaries(st.sampled_from(names), junk))
    made = attempted(lambda: kind(**told))
    assert str(made)
    if isinstance(made, kind):
        option = {"tls": made} if kind is TLS else {"retry": made}
        call = partial(Client, "127.0.0.1:1", timeout=0.05, **option)
        assert isinstance(attempted(lambda: call().ping()), LosswireError)


@settings(max_examples=40)
@given(shape=junk | st.tuples(junk, junk), dtype=junk)
def test_array_of_anything_is_refused_or_sent(unconnected, shape, dtype):
    array = attempted(lambda: unconnected.empty(shape, dtype))
    assert isinstance(array, LosswireError) or array.size == 0


@settings(max_examples=40)
@given(batches=junk | st.lists(junk, max_size=2), loss=junk, window=junk, timeout=junk)
def test_any_map_ends_in_the_error_tree(unconnected, batches, loss, window, timeout):
    for told in ({}, {"loss": loss}, {"window": window}, {"timeout": timeout}):
        try:
            results = attempted(lambda: list(unconnected.map(batches, **told)))  # noqa: B023
        except Exception as error:  # noqa: BLE001 - an error of the iterable of batches
            results = error.__notes__ == ["in batch 0"]
        assert isinstance(results, LosswireError) or results in ([], True)


@settings(max_examples=40)
@given(
    name=junk, loss=junk, option=junk, labels=junk | st.dictionaries(st.text(max_size=3), junk, max_size=2), keys=junk
)
def test_any_run_ends_in_the_error_tree(unconnected, name, loss, option, labels, keys):
    for told in ({"loss": loss}, {"labels": labels}, {"expected_keys": keys}, {"by_class": option}, {"series": option}):
        assert isinstance(attempted(lambda: unconnected.run(name, **told)), LosswireError)  # noqa: B023
    for own in ("weight", "ignore_index", "label_smoothing"):
        assert isinstance(attempted(lambda: unconnected.run("val", **{own: option})), LosswireError)  # noqa: B023
    assert isinstance(attempted(lambda: unconnected.get_run(name)), LosswireError)
    assert isinstance(attempted(lambda: list(unconnected.runs(name))), LosswireError)


@settings(max_examples=40)
@given(key=junk, slice=junk, exact=junk, interval=junk, count=junk)
def test_any_question_to_a_run_ends_in_the_error_tree(unconnected, key, slice, exact, interval, count):
    spec = v1.LossSpec(cross_entropy=v1.CrossEntropy())
    run = Run(unconnected, v1.Run(name="val", spec=spec), accuracy=True, series="")
    for told in ({"key": key}, {"key": "a", "slice": slice}, {"key": "a", "exact": exact}):
        assert isinstance(attempted(lambda: run.evaluate(**RIGHT["cross_entropy"], **told)), LosswireError)  # noqa: B023
    calls = (
        lambda: next(run.watch(interval)),
        lambda: run.finish(count=count),
        lambda: list(run.keys(slice)),
        lambda: run.result(timeout=interval),
    )
    for call in calls:
        assert isinstance(attempted(call), LosswireError)
