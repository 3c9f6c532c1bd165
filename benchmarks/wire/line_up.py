"""Who takes part in the benchmark of the wire."""

from collections.abc import Mapping

from benchmarks.contestants import Way

LOCAL = "F.cross_entropy, in process"
SET_UP = "not measured (make bench-peers sets it up)"

_TCP = Way("benchmarks.wire.tcp:contestant")
_PLAIN_GRPC = Way("benchmarks.wire.plain_grpc:contestant")
_TRITON = Way("benchmarks.wire.triton.clients:over_grpc", peer=True)
_UNARY = Way("benchmarks.wire.losswire:unary")

# Large batches, of which one caller sends one at a time.
LARGE: Mapping[str, Way] = {
    LOCAL: Way("benchmarks.ways:eager"),
    "raw TCP": _TCP,
    "Arrow Flight": Way("benchmarks.wire.flight:contestant", peer=True),
    "plain gRPC": _PLAIN_GRPC,
    "Triton, gRPC": _TRITON,
    "Triton, shared memory": Way("benchmarks.wire.triton.clients:over_shared_memory", peer=True),
    "Losswire, unary": _UNARY,
}

# Small batches, from one caller and from many.
SMALL: Mapping[str, Way] = {
    "raw TCP": _TCP,
    "plain gRPC": _PLAIN_GRPC,
    "Triton, one by one": _TRITON,
    "Triton, batching without delay": Way("benchmarks.wire.triton.clients:over_grpc_batching", peer=True),
    "Losswire, unary": _UNARY,
}
