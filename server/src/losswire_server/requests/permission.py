"""What a caller may ask for."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from losswire import v1
from losswire.fields import field_of
from losswire.losses import heads_of
from losswire_server.errors import NotPermittedError
from losswire_server.text import one_line

MOST_SHOWN = 64  # characters of a series, which is no longer if it is right


class Permission(NamedTuple):
    """What a caller may ask for.

    Attributes:
        losses: Names of losses; None for all.
        series: Patterns that a series must match one of, as in ``team/*``; None for any series.
        runs: Patterns that the name of a run must match one of; None for any run.
        heads: Patterns that the digest or alias of a head must match one of; None for any head.
        registers_heads: Whether it may register, name and delete heads.
    """

    losses: Collection[str] | None = None
    series: Sequence[str] | None = None
    runs: Sequence[str] | None = None
    heads: Sequence[str] | None = None
    registers_heads: bool = True

    def check(self, loss: str, series: str) -> None:
        """Checks a request by its loss, which may be empty if the request is wrong, and its series.

        Raises:
            NotPermittedError: This caller may not evaluate this loss, or not for this series.
        """
        if self.losses is not None and loss and loss not in self.losses:
            allowed = ", ".join(sorted(self.losses)) or "none"
            raise NotPermittedError(f"spec.loss: expected one that this caller may evaluate, {allowed}; got {loss}")
        if self.series is not None and not any(fnmatchcase(series, pattern) for pattern in self.series):
            allowed = ", ".join(self.series) or "none"
            came = one_line(series, MOST_SHOWN) or "none"
            raise NotPermittedError(f"series: expected one that this caller may use, {allowed}; got {came}")

    def permits_run(self, run: str) -> bool:
        return self.runs is None or any(fnmatchcase(run, pattern) for pattern in self.runs)

    def check_run(self, run: str) -> None:
        """Checks the name of a run, which is empty where a request is in none.

        Raises:
            NotPermittedError: This caller may not use this run.
        """
        if run and not self.permits_run(run):
            allowed = ", ".join(self.runs or ()) or "none"
            came = one_line(run, MOST_SHOWN)
            raise NotPermittedError(f"run: expected one that this caller may use, {allowed}; got {came}")

    def permits_head(self, head: str) -> bool:
        return self.heads is None or any(fnmatchcase(head, pattern) for pattern in self.heads)

    def check_head(self, head: str, field: str) -> None:
        """Checks the digest or alias by which a caller names a head.

        Raises:
            NotPermittedError: This caller may not use it.
        """
        if not self.permits_head(head):
            allowed = ", ".join(self.heads or ()) or "none"
            came = one_line(head, MOST_SHOWN)
            raise NotPermittedError(f"{field}: expected a head that this caller may use, {allowed}; got {came}")

    def check_heads(self, spec: v1.LossSpec) -> None:
        """Checks the names of the heads of a loss.

        Raises:
            NotPermittedError: This caller may not use one of them.
        """
        for argument, name in heads_of(spec).items():
            self.check_head(name, field_of(argument, spec))

    def check_registers_heads(self) -> None:
        """Checks whether the caller may register, name and delete heads.

        Raises:
            NotPermittedError: It may not.
        """
        if not self.registers_heads:
            raise NotPermittedError("expected a caller that may register, name and delete heads")


ANYTHING = Permission()
