"""The contestants of the benchmark of the wire."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.contestants import MALLOC_KEEPS, Way

LOCAL = "F.cross_entropy, in process"
SET_UP = "make bench-peers sets up and measures what is missing"

_TCP = Way("benchmarks.wire.tcp:contestant")
_FLIGHT = Way("benchmarks.wire.flight:contestant", peer=True)
_PLAIN_GRPC = Way("benchmarks.wire.plain_grpc:contestant")
_TRITON = Way("benchmarks.wire.triton.clients:over_grpc", peer=True)
_UNARY = Way("benchmarks.wire.losswire:unary")


def _tuned(way: Way) -> Way:
    """The way with malloc tuned on both sides. This is nobody's default, and large messages gain a lot by it."""
    return replace(way, environment=MALLOC_KEEPS)


# Large batches: one caller sends one at a time.
LARGE: Mapping[str, Way] = {
    LOCAL: Way("benchmarks.ways:eager"),
    "raw TCP": _TCP,
    "Arrow Flight": _FLIGHT,
    "Arrow Flight, malloc tuned": _tuned(_FLIGHT),
    "plain gRPC": _PLAIN_GRPC,
    "plain gRPC, malloc tuned": _tuned(_PLAIN_GRPC),
    "bare gRPC stream": Way("benchmarks.wire.bare_grpc:stream"),
    "Triton, gRPC": _TRITON,
    "Triton, gRPC, malloc tuned": _tuned(_TRITON),
    "Triton, shared memory": Way("benchmarks.wire.triton.clients:over_shared_memory", peer=True),
    "Losswire, unary": _UNARY,
    "Losswire, stream": Way("benchmarks.wire.losswire:stream"),
    "Losswire, shared memory": Way("benchmarks.wire.losswire:shared_memory"),
    "Losswire, resident in shared memory": Way("benchmarks.wire.losswire:resident"),
}

# Small batches, from one caller and from many.
SMALL: Mapping[str, Way] = {
    "raw TCP": _TCP,
    "plain gRPC": _PLAIN_GRPC,
    "bare gRPC, answers remembered": Way("benchmarks.wire.bare_grpc:unary"),
    "Triton, one by one": _TRITON,
    "Triton, batching without delay": Way("benchmarks.wire.triton.clients:over_grpc_batching", peer=True),
    "Losswire, unary": _UNARY,
}
