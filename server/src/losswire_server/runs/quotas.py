"""How much the store keeps."""

from typing import NamedTuple


class Quotas(NamedTuple):
    """How much the store keeps."""

    max_runs: int = 10_000
    max_run_keys: int = 10_000_000
    max_key_bytes: int = 512  # of a slice's name too
    max_run_slices: int = 1000
    max_run_classes: int = 10_000
    idle_seconds: float = 0.0  # a run to which nobody adds a key for so long is deleted; 0 keeps all
