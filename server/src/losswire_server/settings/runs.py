"""Where runs are kept, and how much of them."""

from pydantic import Field

from losswire_server.settings.types import Group, Long, Whole


class KeptRuns(Group):
    """Where runs are kept, and how much of them."""

    runs: str | None = Field(None, min_length=1, max_length=4096, repr=False)  # a URL may have a password
    """Where runs are kept: a file for SQLite, as in `runs.db`, or a URL, as in `postgresql://losswire@host/losswire`,
    which needs the extra `postgresql`; unset, this server keeps none."""

    max_runs: Whole = Field(10_000, ge=1, le=10**6)
    """The most runs; to create more is refused until some are deleted."""

    max_run_keys: Whole = Field(10**7, ge=1, le=10**12)
    """The most keys of a run."""

    max_key_bytes: Whole = Field(512, ge=1, le=512)
    """The most bytes of UTF-8 of a key, and of the name of a slice."""

    max_run_slices: Whole = Field(1000, ge=0, le=10_000)
    """The most slices of a run."""

    max_run_classes: Whole = Field(10_000, ge=0, le=10_000)  # as many as an evaluation may have
    """The most classes of a run that adds up each class by itself."""

    run_idle_seconds: Long = 0.0
    """Delete a run to which nobody adds a key for so long, finished or not; 0 keeps all."""
