"""What gRPC is told: how much it takes in by itself, and when it ends connections.

Names: https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h
"""

from losswire_server.settings import Settings

# Calls that may wait for the event loop, each in some 10 KB. Beyond it, gRPC tells any caller that it has cancelled its
# call. By default that are 1000, which a few connections that leave all of their calls at once reach.
QUEUED_CALLS = 2**14
NOT_COMPRESSED = 1  # bit of the only encoding: floats hardly shrink, and a message of 1 MB could become one of 1 GB
PING_TIMEOUT_MILLISECONDS = 20_000


def options(settings: Settings, *, shares_port: bool) -> list[tuple[str, int]]:
    """The options of a gRPC server.

    Args:
        settings: Those of the server.
        shares_port: Whether other processes may listen on its port too.
    """
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # answers are bounded by their requests
        ("grpc.compression_enabled_algorithms_bitset", NOT_COMPRESSED),
        ("grpc.max_concurrent_streams", settings.max_connection_calls),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.idle_seconds)),
        ("grpc.keepalive_time_ms", _milliseconds(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MILLISECONDS),
        ("grpc.http2.bdp_probe", 0),  # on a busy machine it made gRPC read tens of MB ahead
        ("grpc.http2.lookahead_bytes", settings.lookahead_bytes),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # more frequent pings end a connection
        ("grpc.so_reuseport", int(shares_port)),  # by default two servers would share connections unnoticed
        ("grpc.server.max_pending_requests", QUEUED_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * QUEUED_CALLS),
    ]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
