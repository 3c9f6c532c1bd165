"""Output layers that this server holds."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import CliImplicitFlag

from losswire_server.settings.types import Group, Whole, WithinMemory, usable_bytes

MEMORY_PARTS = 4
RESUME_SECONDS = 300.0  # for which an upload that broke is kept


class HeldHeads(Group):
    """Output layers that this server holds, so that callers send hidden states in place of logits."""

    heads: Path | None = None
    """A folder with heads: a checkpoint, or files NAME.safetensors and folders of checkpoints. Their names are
    aliases."""

    head_bytes: WithinMemory | None = Field(None, ge=0)
    """The most memory that all heads take, and those on their way; unset, a quarter of the machine's or container's."""

    max_heads: Whole = Field(64, ge=1, le=10_000)
    """The most heads. Those that were used the longest ago make room for new ones, but none in use, and none of those
    in `heads`."""

    allow_head_registration: CliImplicitFlag[bool] = True
    """Whether callers may register heads, name and delete them."""

    @property
    def most_head_bytes(self) -> int:
        """The most memory that all heads take."""
        return usable_bytes() // MEMORY_PARTS if self.head_bytes is None else self.head_bytes

    @property
    def holds_heads(self) -> bool:
        """Whether there may be a head."""
        return self.heads is not None or (self.allow_head_registration and self.most_head_bytes > 0)
