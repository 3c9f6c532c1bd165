"""Why a call for a run fails, and why a store cannot be used."""

from collections.abc import Sequence

from losswire_server.process.starting import CannotStartError
from losswire_server.runs.records import Entry, KeyRecord
from losswire_server.text import one_line

MOST_TOLD = 1000  # characters: paths may be long


class RunError(Exception):
    """A call for a run fails."""


class RunNotFoundError(RunError):
    """There is no run of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no run {name!r}")
        self.name = name


class RunExistsError(RunError):
    """There is a run of this name that differs in a field."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class RunMismatchError(RunError):
    """An evaluation differs from its run in a field."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class KeyConflictError(RunError):
    """The key counts already, with other sums or in another slice."""

    def __init__(self, entry: Entry, counted: KeyRecord) -> None:
        slice_of = f"in slice {counted.slice!r}" if counted.slice else "without a slice"
        differs = "with other sums" if entry.slice == counted.slice else slice_of
        super().__init__(f"key {entry.key!r} of run {entry.run!r} counts already, {differs}")
        self.entry = entry
        self.counted = counted


class RunFinishedError(RunError):
    """The run is finished, and lacks this key."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__(f"run {name!r} is finished, without key {key!r}")
        self.name = name
        self.key = key


class RunIncompleteError(RunError):
    """The run lacks keys, or has others than expected.

    Attributes:
        missing: Some of the keys that it lacks, as far as they are known.
        missing_count: How many it lacks.
        unexpected: Some of the keys that were not expected, as far as they are known.
        unexpected_count: How many were not expected.
    """

    def __init__(
        self, name: str, missing: Sequence[str], missing_count: int, unexpected: Sequence[str], unexpected_count: int
    ) -> None:
        lacks = f"lacks {missing_count:,} of the expected keys" if missing_count else ""
        has = f"has {unexpected_count:,} that {'was' if unexpected_count == 1 else 'were'} not expected"
        super().__init__(f"run {name!r} {' and '.join(filter(None, (lacks, has if unexpected_count else '')))}")
        self.name = name
        self.missing = list(missing)
        self.missing_count = missing_count
        self.unexpected = list(unexpected)
        self.unexpected_count = unexpected_count


class RunCountError(RunIncompleteError):
    """The run has another number of keys than expected."""

    def __init__(self, name: str, counted: int, expected: int) -> None:
        super().__init__(name, [], max(0, expected - counted), [], max(0, counted - expected))
        self.args = (f"run {name!r} has {counted:,} keys, expected {expected:,}",)


class RunQuotaError(RunError):
    """There are as many runs, or the run has as many keys, slices or classes, as this server keeps."""


class StoreUnavailableError(RunError):
    """The database cannot be reached. Whether the call had an effect is not known."""


class UnusableStoreError(CannotStartError):
    """The store cannot be opened. The message says why, to people."""

    def __init__(self, problem: str) -> None:
        super().__init__(one_line(problem, MOST_TOLD))
