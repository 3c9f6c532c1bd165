import pytest

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED, Account
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.process.sockets import Endpoint
from losswire_server.rpc.receiving.connections import LEAST_BYTES, SETTLE_CALLS, Connection, Connections

MIB = 2**20
LOOKAHEAD = MIB // 2
PEER = "ipv4:127.0.0.1:5"


@pytest.fixture
def admission():
    return Admission(100 * MIB)


@pytest.fixture
def connection(admission):
    connection = Connection(PEER, admission.reservation(), lookahead_bytes=LOOKAHEAD)
    connection.begin_receiving()
    return connection


def count(connection: Connection, received: int) -> None:
    assert connection.count(lambda: received)


def settle(connection: Connection, received: int) -> None:
    connection.settle(lambda: received)


def on_wire(size: int, frame: int = 2**14) -> int:
    """The bytes that a message of that size takes on a connection."""
    return size + 5 + 9 * (-(-size // frame))


def test_what_arrived_is_held_until_the_message_has_come(admission, connection):
    for received in (MIB, 5 * MIB, 20 * MIB):
        count(connection, received)
        assert connection.hold(2, whether_it_fits=True)
        assert admission.inflight_bytes == 2 * received
    assert not connection.hold(2, whether_it_fits=True)  # no more has come
    connection.came(20 * MIB)
    assert admission.inflight_bytes == 0  # who takes the message holds it


def test_message_that_has_come_is_held_no_more_while_others_come(admission, connection):
    """Else one that fits only if hardly anything else is in flight would never fit beside other calls."""
    connection.begin_receiving()
    count(connection, 21 * MIB)
    connection.hold(3, whether_it_fits=True)
    connection.came(20 * MIB)
    assert admission.inflight_bytes == 3 * MIB
    connection.end_receiving()
    assert admission.inflight_bytes == 3 * MIB


def test_little_is_not_held(admission, connection):
    count(connection, LEAST_BYTES - 1)
    assert not connection.hold(2, whether_it_fits=True)
    assert connection.unfinished == admission.inflight_bytes == 0


def test_nothing_is_unfinished_without_calls(admission, connection):
    count(connection, MIB)
    connection.hold(1, whether_it_fits=True)
    connection.end_receiving()
    count(connection, 2 * MIB)
    assert connection.unfinished == 0
    assert not connection.hold(1, whether_it_fits=True)
    assert admission.inflight_bytes == 0


def test_what_does_not_fit_is_held_if_that_is_so_wanted(admission, connection):
    count(connection, 60 * MIB)
    with pytest.raises(TooLargeError):
        connection.hold(2, whether_it_fits=True)
    assert admission.inflight_bytes == 0
    assert connection.hold(2, whether_it_fits=False)
    assert admission.inflight_bytes == 120 * MIB
    connection.let_go()
    assert admission.inflight_bytes == 0


@pytest.mark.parametrize("overhead", [0, 100, 127], ids="overhead {}".format)
@pytest.mark.parametrize("size", [100, 10_000, MIB, 10 * MIB])
def test_estimates_do_not_drift_while_a_stream_lasts(size, overhead, connection):
    received = 0
    for number in range(20_000):
        received += on_wire(size) + (overhead if number % 2 else 0)
        connection.came(size)
        count(connection, received)
        assert connection.unfinished == 0
    count(connection, received + MIB)
    assert connection.unfinished == pytest.approx(MIB, abs=LEAST_BYTES)


def test_estimates_are_corrected_though_messages_come_uncounted(connection):
    received = 0
    for _ in range(20_000):
        received += on_wire(100)
        connection.came(100)
    count(connection, received)
    count(connection, received + MIB)
    assert connection.unfinished == MIB


@pytest.mark.parametrize("size", [100, 300_000, 10 * MIB])
def test_short_frames_do_not_drift_between_calls(size, connection):
    received = 0
    for number in range(2_000):
        received += on_wire(size, frame=2**11) + 200
        connection.came(size)
        if number % SETTLE_CALLS == SETTLE_CALLS - 1:
            connection.end_receiving()
            assert connection.is_unsettled
            settle(connection, received)
            connection.begin_receiving()
            count(connection, received)
            assert connection.unfinished == 0


def test_message_that_completes_while_it_is_counted_is_no_drift(connection):
    def received() -> int:
        connection.came(MIB)  # in the event loop, meanwhile
        return MIB

    assert connection.count(received)
    count(connection, 3 * MIB)
    assert connection.unfinished == pytest.approx(2 * MIB, rel=0.01)


def test_unknown_connection_is_told(connection):
    assert not connection.count(lambda: None)
    connection.settle(lambda: None)


def test_counts_settle_while_nothing_is_on_its_way(connection):
    for _ in range(SETTLE_CALLS):
        assert not connection.is_unsettled
        connection.came(1000)
    assert not connection.is_unsettled  # a message may be on its way
    connection.end_receiving()
    assert connection.is_unsettled
    settle(connection, 5)
    assert not connection.is_unsettled


def test_endpoint_that_is_used_again_is_counted_anew(connection):
    connection.came(50 * MIB)
    count(connection, 50 * MIB)
    count(connection, 10 * MIB)  # since the start of another connection
    assert connection.unfinished == 10 * MIB


def test_bytes_are_those_of_the_account_that_they_were_counted_for(connection):
    first, second = Account(), Account()
    connection.belongs_to(first)
    count(connection, MIB)
    connection.hold(1, whether_it_fits=True)
    connection.belongs_to(second)
    assert (first.bytes, second.bytes) == (MIB, 0)
    connection.end_receiving()
    connection.belongs_to(second)
    connection.begin_receiving()
    connection.hold(1, whether_it_fits=True)
    assert (first.bytes, second.bytes) == (0, MIB)


def test_connections_that_have_ended_are_forgotten(admission):
    connections = Connections(admission, UNLIMITED)
    gone, busy, alive, local = (
        connections.of(peer) for peer in (PEER, "ipv4:127.0.0.1:6", "ipv6:[::1]:7", "unix:/run/losswire.sock")
    )
    busy.begin_receiving()
    gone.held.hold(MIB)
    connections.forget({Endpoint("::1", 7)})
    assert set(connections) == {busy, alive, local}
    assert admission.inflight_bytes == len(connections.accounts) == 0
    assert connections.of(PEER) is not gone
    assert connections.of("ipv6:%5B::1%5D:7").endpoint == alive.endpoint


def test_beginnings_of_messages_that_are_held_back_are_held_once(admission, connection):
    connection.begin_receiving()
    connection.held_back = 1
    count(connection, 20 * MIB)
    connection.hold(3, whether_it_fits=True)
    assert admission.inflight_bytes == 3 * 20 * MIB - 2 * LOOKAHEAD


def test_messages_that_never_fit_at_once_may_fit_one_after_the_other(connection):
    connection.begin_receiving()
    count(connection, 40 * MIB)
    with pytest.raises(OverloadedError, match="this call needs"):
        connection.hold(3, whether_it_fits=True)
    with pytest.raises(OverloadedError, match="this call needs"):
        connection.check_fits(101 * MIB)
    connection.end_receiving()
    count(connection, 41 * MIB)
    with pytest.raises(TooLargeError):
        connection.hold(3, whether_it_fits=True)
    with pytest.raises(TooLargeError):
        connection.check_fits(101 * MIB)


def test_more_than_the_calls_can_have_belongs_to_none(admission):
    connection = Connection(PEER, admission.reservation(), MIB, LOOKAHEAD)
    connection.begin_receiving()
    count(connection, 50 * MIB)
    assert connection.unfinished == MIB + LOOKAHEAD
