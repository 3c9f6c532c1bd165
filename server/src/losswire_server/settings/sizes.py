"""How much callers may send, and how much of the memory they may take."""

from typing import Self

from pydantic import Field, model_validator

from losswire_server.settings.types import MIB, Group, Whole, WithinMemory

KEPT_PARTS = 16  # memory in flight and what is kept of freed memory stay within five quarters of what may be in flight
MESSAGE_COPIES = 3  # of a message at the moment when it is complete, two of them grpcio's
# Of the budget, gRPC reads one part in so many ahead of each call: by default a connection may have as many. Less slows
# slabs down, more is memory that is counted too late.
LOOKAHEAD_PARTS = 128
LEAST_LOOKAHEAD_BYTES, MOST_LOOKAHEAD_BYTES = 2**18, 2**22


class Sizes(Group):
    """How much callers may send, and how much of the memory they may take."""

    max_message_bytes: Whole = Field(64 * MIB, ge=4096, lt=2**31)
    """The largest request accepted; larger ones get RESOURCE_EXHAUSTED."""

    max_batch_requests: Whole = Field(256, ge=0, lt=2**31)
    """The most requests that one BatchEvaluate may have; 0 turns it off."""

    slab_bytes: Whole = Field(MIB, ge=4096, lt=2**31)
    """The size that callers are told to give slabs. Larger slabs fit caches worse; smaller slabs take more messages."""

    max_inflight_bytes: WithinMemory = Field(1024 * MIB, ge=4096)
    """What all callers together make the server hold may take this much: what has arrived of their messages, what its
    evaluation takes, and answers until they are read. Beyond it, callers are told to try later."""

    shared_memory_bytes: WithinMemory = Field(1024 * MIB, ge=0)
    """Shared memory that all callers on this machine together may lease; 0 turns shared memory off."""

    @model_validator(mode="after")
    def _three_slabs_must_fit(self) -> Self:
        slab_bytes = self.told_slab_bytes
        if self.max_inflight_bytes < 3 * slab_bytes:
            raise ValueError(
                f"max_inflight_bytes must be at least three slabs, {3 * slab_bytes}, or streams never run: "
                f"got {self.max_inflight_bytes}, with slab_bytes and half of max_message_bytes at least {slab_bytes}"
            )
        return self

    @property
    def kept_bytes(self) -> int:
        """Freed memory that is kept for what comes next, by malloc and again by the engine."""
        return self.max_inflight_bytes // KEPT_PARTS

    @property
    def lookahead_bytes(self) -> int:
        """What gRPC takes of a call's messages before they are read."""
        part = self.max_inflight_bytes // LOOKAHEAD_PARTS
        return max(LEAST_LOOKAHEAD_BYTES, min(part, MOST_LOOKAHEAD_BYTES))

    @property
    def told_slab_bytes(self) -> int:
        """The slab size that callers are told. A message holds at least two such slabs."""
        return min(self.slab_bytes, self.max_message_bytes // 2)
