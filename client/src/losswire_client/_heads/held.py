"""Heads as servers hold them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.heads.content import kind_of
from losswire_client._transports.answers import understood


@dataclass(frozen=True, kw_only=True)
class HeldHead:
    """A head that a server holds, without its elements.

    Attributes:
        digest: SHA-256 of its content, in hexadecimal, which is its name on every server.
        aliases: Further names of it on this server.
        class_count: V: how many classes it has.
        width: H: how many numbers a hidden state has.
        dtype: Of its weight, as in ``bfloat16``.
        has_bias: Whether it adds a bias.
        norm: How it normalises hidden states: ``rms`` or ``layer``; None for not at all.
        softcap: What bounds its logits; None for nothing.
        temperature: What its logits are divided by.
        memory_bytes: Memory that it takes there.
        created: When the server got it, in UTC.
        is_permanent: Whether the server's operator gave it to the server, which then never evicts or deletes it.
    """

    digest: str
    aliases: tuple[str, ...]
    class_count: int
    width: int
    dtype: str
    has_bias: bool
    norm: str | None
    softcap: float | None
    temperature: float
    memory_bytes: int
    created: datetime
    is_permanent: bool


def to_held(message: v1.HeldHead) -> HeldHead:
    """Reads a head.

    Raises:
        InternalError: The message breaks the contract.
    """
    head = message.head
    with understood():
        classes, width = head.weight.shape
        return HeldHead(
            digest=message.digest,
            aliases=tuple(message.aliases),
            class_count=classes,
            width=width,
            dtype=BY_WIRE[head.weight.dtype].name,
            has_bias=head.HasField("bias"),
            norm=kind_of(head.norm) if head.HasField("norm") else None,
            softcap=head.softcap or None,
            temperature=head.temperature if head.HasField("temperature") else 1.0,
            memory_bytes=message.memory_bytes,
            created=message.create_time.ToDatetime(tzinfo=UTC),
            is_permanent=message.permanent,
        )
