"""Calls that do not fit raise errors of the tree that are TypeErrors too. They use the name that the caller wrote."""

import asyncio
import inspect
from typing import Any

import pytest

from losswire_client import TLS, AsyncClient, Client, InvalidArgumentError, Retry, testing
from tests.client.many.mapping import BOTH, mapped

ROW = [[1.0, 2.0]], [0]


def refusal(call) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as raised:
        call()
    assert isinstance(raised.value, TypeError)
    return raised.value


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("Client.cross_entropy", lambda c: c.cross_entropy(*ROW, label_smooth=0.1)),
        ("Client.nll_loss", lambda c: c.nll_loss(*ROW, label_smoothing=0.1)),
        ("Client.binary_cross_entropy", lambda c: c.binary_cross_entropy(*ROW, sample_weights=[1])),
        ("Client.binary_cross_entropy_with_logits", lambda c: c.binary_cross_entropy_with_logits(*ROW, posweight=[1])),
        ("Client.ping", lambda c: c.ping(timeot=1)),
        ("Client.capabilities", lambda c: c.capabilities(timeot=1)),
        ("Client.empty", lambda c: c.empty(3, dtipe="float32")),
        ("Client.map", lambda c: c.map([ROW], windw=2)),
        ("Client.map", lambda c: c.map([ROW], label_smooth=0.1)),
        ("Client.map", lambda c: c.map([ROW], loss="nll_loss", gradient=True)),
        ("Client", lambda _: Client(tmeout=3)),  # type: ignore[call-arg]
        ("AsyncClient", lambda _: AsyncClient(colesce=True)),  # type: ignore[call-arg]
        ("TLS", lambda _: TLS(certs="a")),  # type: ignore[call-arg]
        ("Retry", lambda _: Retry(second=1)),  # type: ignore[call-arg]
    ],
)
def test_misspelt_keyword_names_the_nearest(client, name, call):
    error = refusal(lambda: call(client))
    nearest = {
        "label_smooth": "label_smoothing",
        "sample_weights": "sample_weight",
        "posweight": "pos_weight",
        "timeot": "timeout",
        "dtipe": "dtype",
        "windw": "window",
        "gradient": "grad",
        "tmeout": "timeout",
        "colesce": "coalesce",
        "certs": "cert",
        "second": "seconds",
    }
    meant = f"; did you mean {nearest[error.argument]!r}?" if error.argument in nearest else ""
    assert str(error) == f"{name}() got an unexpected keyword argument {error.argument!r}{meant}"


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("Client.cross_entropy() missing 1 required positional argument: 'target'", lambda c: c.cross_entropy(ROW[0])),
        ("Client.ping() takes 1 positional argument but 2 were given", lambda c: c.ping(3)),
        ("Client.nll_loss() got multiple values for argument 'target'", lambda c: c.nll_loss(*ROW, target=ROW[1])),
        (
            "Client() takes from 1 to 2 positional arguments but 3 were given",
            lambda _: Client("localhost", 3),  # type: ignore[call-arg]
        ),
        ("TLS() takes 1 positional argument but 2 were given", lambda _: TLS("ca.pem")),  # type: ignore[call-arg]
    ],
)
def test_other_misfits_are_told_as_by_python(client, message, call):
    assert str(refusal(lambda: call(client))) == message


def test_awaited_calls_are_refused_likewise():
    async def ping():
        await AsyncClient("localhost").ping(timeot=1)  # type: ignore[call-arg]

    expected = "AsyncClient.ping() got an unexpected keyword argument 'timeot'; did you mean 'timeout'?"
    assert str(refusal(lambda: asyncio.run(ping()))) == expected
    client: Any = AsyncClient("localhost")
    assert str(refusal(lambda: client.cross_entropy(*ROW, weigth=None))).endswith("'weight'?")


def test_signatures_of_methods_stay():
    assert list(inspect.signature(Client.ping).parameters) == ["self", "timeout"]
    assert inspect.iscoroutinefunction(AsyncClient.ping)
    assert not inspect.iscoroutinefunction(Client.ping)


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
def test_misspelt_name_tells_its_batch(target, kind, coalesce):
    batches = [ROW, {"input": ROW[0], "targets": ROW[1]}]
    error = refusal(lambda: list(mapped(kind(target, coalesce=coalesce), batches)))
    unexpected = "got an unexpected keyword argument 'targets'; did you mean 'target'?"
    assert str(error) == f"batch 1: {kind.__name__}.cross_entropy() {unexpected}"


def test_error_from_within_a_call_stays(client):
    class Wrong:
        def __iter__(self):
            raise TypeError("of the caller's own")

    with pytest.raises(TypeError, match=r"^of the caller's own$"):
        client.cross_entropy(*ROW, outputs=type("Outputs", (Wrong, set), {})())


def test_in_process_clients_have_public_names():
    with testing.Service() as service:
        assert str(refusal(lambda: service.client(tmeout=3))).startswith("Client() got an unexpected keyword")
