"""Heads come over a connection: in parts, verified, resumed after a break, and refused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from losswire import v1
from losswire.heads.content import content_bytes, digest, without_elements
from losswire_server.heads import pace, uploads
from tests.helpers import eventually, serving, total
from tests.server.calls.heads.registering import Stream, parts, reason_of, register
from tests.server.heads.making import a_message, content_of

INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
NEEDED = 60 + 64 * 64 * 4  # bytes of a head of `a_message` that comes


@pytest.fixture
def server():
    with serving(max_heads=20) as running:
        yield running


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected


def refused(call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value


def registrations(server, outcome):
    return total(server.registry, "losswire_head_registrations_total", outcome=outcome)


@pytest.mark.parametrize("size", [1, 16, 2**20])
def test_head_is_registered(server, channel, size):
    head = a_message(norm="layer", bias=True)
    held = register(channel, head, size)
    assert (held.digest, held.head) == (digest(head), without_elements(head))
    assert (list(held.aliases), held.permanent) == ([], False)
    assert held.memory_bytes == total(server.registry, "losswire_head_bytes") > 0
    assert held.create_time.seconds > 0
    assert total(server.registry, "losswire_heads") == registrations(server, "registered") == 1
    assert total(server.registry, "losswire_inflight_bytes") == 0


def test_head_that_is_there_is_answered_at_once(server, channel):
    head = a_message()
    held = register(channel, head)
    answer = Stream(channel).begin(head).read()
    assert (answer.head, answer.received_bytes) == (held, content_bytes(head))
    assert registrations(server, "known") == 1


def test_head_that_leaves_at_once_was_registered(channel, monkeypatch):
    """Others may take its room before the answer is made. The caller has sent all and can send nothing more."""
    finish = uploads.Upload.finish

    def finish_and_lose(upload, heads, sender):
        held = finish(upload, heads, sender)
        heads.delete(held.digest)
        return held

    monkeypatch.setattr(uploads.Upload, "finish", finish_and_lose)
    head = a_message()
    assert register(channel, head).digest == digest(head)


def test_broken_stream_is_taken_up(server, channel):
    head, content = a_message(), content_of(a_message())
    stream = Stream(channel).begin(head)
    assert stream.read().received_bytes == 0
    stream.send(0, content[:10]).send(10, content[10:25])
    name = "grpc_server_msg_received_total"
    eventually(lambda: total(server.registry, name, grpc_method="RegisterHead") == 3)
    stream.call.cancel()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as other:  # a connection of its own
        again = Stream(other).begin(head)
        assert again.read().received_bytes == 25
        (answer,) = again.send(25, content[25:]).rest()
    assert answer.head.digest == digest(head)


def test_stream_waits_for_another_one_of_the_same_head(server, channel):
    head, content = a_message(), content_of(a_message())
    first = Stream(channel).begin(head)
    first.read()
    second, third = Stream(channel).begin(head), Stream(channel).begin(head)
    name = "grpc_server_msg_received_total"
    eventually(lambda: total(server.registry, name, grpc_method="RegisterHead") == 3)
    third.call.cancel()
    first.send(0, content)
    (held,) = first.rest()
    assert second.rest() == [held]


def test_stream_ends_off_the_event_loop(channel, monkeypatch):
    """Another one that enters may hold the lock while it frees gigabytes."""
    threads, leave = [], uploads.Uploads.leave

    def noted(*arguments):
        threads.append(threading.current_thread().name)
        leave(*arguments)

    monkeypatch.setattr(uploads.Uploads, "leave", noted)
    register(channel, a_message())
    broken = Stream(channel).begin(a_message(1))
    broken.read()
    broken.call.cancel()
    eventually(lambda: len(threads) == 2)
    assert all(name.startswith("losswire-reader") for name in threads)


def test_stream_that_breaks_before_it_is_built_is_taken_up_whole(server, channel):
    """Heads are built one after the other, so one may wait for its turn."""
    registration, head, content = server._backend._registration, a_message(), content_of(a_message())
    asyncio.run_coroutine_threadsafe(registration._building.acquire(), server._loop).result(20)
    broken = Stream(channel).begin(head)
    broken.read()
    broken.send(0, content)
    (upload,) = registration._uploads._uploads.values()
    eventually(lambda: upload.is_complete)
    broken.call.cancel()
    eventually(lambda: not registration._uploads._streams)
    server._loop.call_soon_threadsafe(registration._building.release)
    (first, last) = Stream(channel).begin(head).rest()
    assert (first.received_bytes, last.head.digest) == (len(content), digest(head))


def test_silent_stream_lets_another_one_go_on(channel, monkeypatch):
    monkeypatch.setattr(pace, "SECONDS", 0.05)
    head, content = a_message(), content_of(a_message())
    silent = Stream(channel).begin(head)
    silent.read()
    silent.send(0, content[:10])
    other = Stream(channel).begin(head)
    assert other.read().received_bytes in (0, 10)  # the part may still be on its way
    assert reason_of(refused(silent.rest)) == (EXHAUSTED, "OVERLOADED")


@pytest.mark.parametrize(("is_its_own", "reason"), [(True, "OVERLOADED"), (False, "HEAD_QUOTA")])
def test_silent_stream_ends_where_another_head_lacks_room(server, channel, monkeypatch, is_its_own, reason):
    """Else callers that send nothing could keep all others, and themselves, from registering heads."""
    monkeypatch.setattr(pace, "SECONDS", 0.05)
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 1)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]) as another:
        silent, tried = Stream(channel if is_its_own else another).begin(a_message(0)), []
        silent.read()

        def is_over():
            tried.append(reason_of(refused(Stream(channel).begin(a_message(1)).end().rest)))
            return not silent.call.is_active()

        eventually(is_over)
        assert tried[0] == (EXHAUSTED, reason)
        assert reason_of(refused(silent.rest)) == (EXHAUSTED, "OVERLOADED")
    assert register(channel, a_message(1)).digest == digest(a_message(1))


def test_silent_stream_goes_on_where_no_other_waits(channel, monkeypatch):
    monkeypatch.setattr(pace, "SECONDS", 0.001)
    head, content = a_message(), content_of(a_message())
    stream = Stream(channel).begin(head)
    stream.read()
    for seed in range(1, 5):
        register(channel, a_message(seed))  # takes longer than that
    (answer,) = stream.send(0, content).rest()
    assert answer.head.digest == digest(head)


def test_many_callers_register_many_heads(server, channel):
    heads = [a_message(seed) for seed in range(4)] * 4
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda head: register(channel, head, 16), heads))
    assert [each.digest for each in held] == [digest(head) for head in heads]
    assert total(server.registry, "losswire_heads") == registrations(server, "registered") == 4
    assert registrations(server, "known") == 12


def test_other_content_is_refused_and_dropped(server, channel):
    head = a_message(0)
    stream = Stream(channel).begin(head)
    stream.read()
    error = refused(stream.send(0, content_of(a_message(1))).rest)
    assert reason_of(error) == (INVALID, "HEAD_MISMATCH")
    assert registrations(server, "mismatch") == 1
    assert total(server.registry, "losswire_head_bytes") == 0
    assert Stream(channel).begin(head).read().received_bytes == 0
    assert register(channel, a_message(2)).digest == digest(a_message(2))


def test_wrong_digest_is_refused(channel):
    stream = Stream(channel).begin(a_message(), named="0" * 64)
    stream.read()
    assert reason_of(refused(stream.send(0, content_of(a_message())).rest)) == (INVALID, "HEAD_MISMATCH")


@pytest.mark.parametrize(
    ("offset", "length", "problem"),
    [
        (0, 5, "content.offset_bytes: expected 10, the place of the next byte, got 0"),
        (11, 5, "content.offset_bytes: expected 10, the place of the next byte, got 11"),
        (10, 51, "content.data: expected at most 50 bytes more of this head, got 51"),
    ],
)
def test_gaps_and_overlaps_are_refused_and_what_came_is_kept(channel, offset, length, problem):
    stream = Stream(channel).begin(a_message())
    stream.read()
    error = refused(stream.send(0, content_of(a_message())[:10]).send(offset, bytes(length)).rest)
    assert reason_of(error) == (INVALID, "INVALID_REQUEST")
    assert problem in error.details()
    assert Stream(channel).begin(a_message()).read().received_bytes == 10


def test_stream_that_ends_early_is_told(channel):
    stream = Stream(channel).begin(a_message())
    stream.read()
    error = refused(stream.send(0, bytes(4)).end().rest)
    assert reason_of(error) == (INVALID, "INVALID_REQUEST")
    assert "content: expected 60 bytes of this head in all, got 4" in error.details()


HEADER = v1.HeadHeader(digest=digest(a_message()), head=without_elements(a_message()))


def header(**changed):
    made = v1.HeadHeader()
    made.CopyFrom(HEADER)
    for path, value in changed.items():
        setattr(made, path, value)
    return v1.RegisterHeadRequest(header=made)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (v1.RegisterHeadRequest(), "part: expected header, got nothing"),
        (v1.RegisterHeadRequest(content=v1.HeadPart()), "part: expected header, got content"),
        (header(digest="llama"), "header.digest: expected a SHA-256"),
        (v1.RegisterHeadRequest(header=v1.HeadHeader(digest=HEADER.digest)), "header.head.weight: expected a tensor"),
        (
            v1.RegisterHeadRequest(header=v1.HeadHeader(digest=HEADER.digest, head=a_message())),
            "header.head.weight: expected a tensor without elements, which follow",
        ),
    ],
)
def test_wrong_header_is_named(channel, request_, problem):
    error = refused(Stream(channel).put(request_).rest)
    assert reason_of(error) == (INVALID, "INVALID_REQUEST")
    assert problem in error.details()


def test_no_header_is_told(channel):
    assert "part: expected header, got nothing" in refused(Stream(channel).end().rest).details()


def test_second_header_is_refused(channel):
    stream = Stream(channel).begin(a_message())
    stream.read()
    assert "part: expected content, got header" in refused(stream.begin(a_message()).rest).details()


def test_head_without_room_is_refused():
    with (
        serving(head_bytes=NEEDED - 1) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        error = refused(Stream(channel).begin(a_message()).rest)
        assert reason_of(error) == (EXHAUSTED, "HEAD_QUOTA")
        assert f"needs {NEEDED} bytes, and all heads may take {NEEDED - 1}" in error.details()
        assert registrations(server, "quota") == 1


def test_head_of_the_longest_time_makes_room():
    with (
        serving(max_heads=2) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        for seed in range(3):
            register(channel, a_message(seed))
        assert total(server.registry, "losswire_heads") == 2
        assert total(server.registry, "losswire_head_evictions_total") == 1
        assert Stream(channel).begin(a_message(0)).read().received_bytes == 0  # gone


def test_parts_count_in_flight():
    with (
        serving(max_message_bytes=4096, max_inflight_bytes=16384, caller_share=0.75) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        big = v1.Head(weight=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[100, 100], data=bytes(40_000)))
        stream = Stream(channel).begin(big)
        stream.read()
        for offset, data in parts(big.weight.data, 4000):
            stream.send(offset, data)
        (answer,) = stream.rest()
        assert answer.head.digest == digest(big)
        assert total(server.registry, "losswire_inflight_bytes") == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"allow_head_registration": False}, "this server holds no heads"),
        ({"head_bytes": 0}, "this server holds no heads"),
    ],
)
def test_server_without_heads_says_so(settings, told):
    with (
        serving(**settings) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        error = refused(Stream(channel).begin(a_message()).rest)
        assert reason_of(error) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
        assert told in error.details()
