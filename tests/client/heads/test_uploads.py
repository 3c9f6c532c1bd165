"""Heads on their way: in parts, from where the server has them, and given up when that makes no sense."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from losswire_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    Head,
    HeadNotFoundError,
    HeldHead,
    InternalError,
    NotServedError,
    ResourceExhaustedError,
    Retry,
    UnavailableError,
)
from tests.client.heads.faked import faking

WEIGHT = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)  # several messages
HEAD = Head(WEIGHT, WEIGHT[:, 0])
CONTENT = WEIGHT.tobytes() + WEIGHT[:, 0].tobytes()
HIDDEN, TARGET = np.ones((2, 64), np.float32), [1, 2]
QUICK = Retry(seconds=10, first_pause=0.01, longest_pause=0.02)


def registered(kind: type, target: str, **options: object) -> HeldHead:
    if kind is Client:
        with Client(target, **options) as client:  # type: ignore[arg-type]
            return client.register_head(HEAD)

    async def register() -> HeldHead:
        async with AsyncClient(target, **options) as client:  # type: ignore[arg-type]
            return await client.register_head(HEAD)

    return asyncio.run(register())


both = pytest.mark.parametrize("kind", [Client, AsyncClient])


@both
def test_head_goes_in_parts_of_the_servers_size(kind):
    with faking() as (service, target):
        held = registered(kind, target)
    assert service.content == CONTENT
    assert (held.digest, held.class_count, held.width, held.has_bias) == (HEAD.digest, 50, 64, True)


@both
def test_broken_stream_goes_on_where_it_was(kind):
    with faking(breaks=[5000, 5000, 9000]) as (service, target):
        registered(kind, target, retry=QUICK)
    assert service.content == CONTENT
    first, *others = service.began
    assert first == 0
    assert others == sorted(others)
    assert min(others) >= 5000


@both
def test_stream_that_gets_nowhere_is_given_up(kind):
    ends = UnavailableError, InternalError  # grpc.aio loses the reason of a call that ends amid a message
    with faking(breaks=[0] * 100) as (service, target), pytest.raises(ends):
        registered(kind, target, retry=None)
    assert 1 <= len(service.began) < 100


@both
@pytest.mark.parametrize(
    ("code", "kind_of_error"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (grpc.StatusCode.UNIMPLEMENTED, NotServedError),
    ],
)
def test_refusal_is_an_error_of_the_tree(kind, code, kind_of_error):
    with faking(refusal=(code, "what happened")) as (_, target), pytest.raises(kind_of_error, match="what happened"):
        registered(kind, target)


@both
def test_deadline_holds_amid_an_upload(kind):
    with faking(is_silent=True) as (_, target), pytest.raises(DeadlineExceededError):
        registered(kind, target, timeout=0.3)


def test_call_registers_what_its_server_lacks():
    with faking() as (service, target), Client(target) as client:
        for _ in range(3):
            client.linear_cross_entropy(HIDDEN, HEAD, TARGET)
    assert service.calls == ["Evaluate", "RegisterHead", "Evaluate", "Evaluate", "Evaluate"]


def test_call_without_the_head_itself_says_which_is_missing():
    with faking() as (service, target), Client(target) as client:
        for name in ("llama", HEAD.digest):
            with pytest.raises(HeadNotFoundError) as raised:
                client.linear_cross_entropy(HIDDEN, name, TARGET)
            assert raised.value.head == name
    assert service.calls == ["Evaluate", "Evaluate"]


def test_server_that_forgets_heads_ends_no_call_in_a_loop():
    with (
        faking(holds=False) as (service, target),
        Client(target) as client,
        pytest.raises(HeadNotFoundError, match="gone again: the server has room for too few"),
    ):
        client.linear_cross_entropy(HIDDEN, HEAD, TARGET)
    assert service.calls.count("Evaluate") == 9
    assert service.calls.count("RegisterHead") == sum(range(9))


def test_server_that_takes_no_heads_says_so():
    refusal = grpc.StatusCode.UNIMPLEMENTED, "callers may register no heads"
    message = r"lacks it, and it cannot be registered: .*callers may register no heads"
    with (
        faking(refusal=refusal) as (service, target),
        Client(target) as client,
        pytest.raises(HeadNotFoundError, match=message),
    ):
        client.linear_cross_entropy(HIDDEN, HEAD, TARGET)
    assert service.calls == ["Evaluate", "RegisterHead"]


def test_one_of_many_callers_sends_the_head():
    with faking() as (service, target), Client(target) as client, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(client.linear_cross_entropy, HIDDEN, HEAD, TARGET) for _ in range(8)]
        for call in calls:
            call.result()
    assert service.content == CONTENT  # else others would have gone on where the first one ended
    assert service.calls.count("RegisterHead") == 1 or service.began[1:] == [len(CONTENT)] * (len(service.began) - 1)


def test_progress_is_of_bytes(capsys):
    with faking() as (_, target), Client(target) as client:
        client.register_head(HEAD, progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "13.0k/13.0k" in shown
