"""How much the store keeps."""

from typing import NamedTuple

from losswire_server.settings.runs import KeptRuns


class Quotas(NamedTuple):
    """How much the store keeps. Each is the setting of the same name."""

    max_runs: int = 10_000
    max_run_keys: int = 10**7
    max_key_bytes: int = 512  # of a slice's name too
    max_run_slices: int = 1000
    max_run_classes: int = 10_000
    run_idle_seconds: float = 0.0  # a run to which nobody adds a key for so long is deleted; 0 keeps all

    @classmethod
    def of(cls, settings: KeptRuns) -> "Quotas":
        return cls(**{name: getattr(settings, name) for name in cls._fields})
