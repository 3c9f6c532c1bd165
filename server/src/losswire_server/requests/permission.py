"""What a caller may ask for."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from losswire.heads.rules import is_digest
from losswire_server.errors import NotPermittedError
from losswire_server.heads.held import Held
from losswire_server.text import one_line

MOST_SHOWN = 64  # characters of a series, which is no longer if it is right


class Permission(NamedTuple):
    """What a caller may ask for.

    Attributes:
        losses: Names of losses; None for all.
        series: Patterns that a series must match one of, as in ``team/*``; None for any series.
        runs: Patterns that the name of a run must match one of; None for any run.
        heads: Patterns that the digest or an alias of a head must match one of; None for any head.
        registers_heads: Whether it may register, name and delete heads.
        caller: Whose it is, by whose name heads remember who sent them.
    """

    losses: Collection[str] | None = None
    series: Sequence[str] | None = None
    runs: Sequence[str] | None = None
    heads: Sequence[str] | None = None
    registers_heads: bool = True
    caller: str = ""

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

    def permits_name(self, name: str) -> bool:
        """Whether it may use any head that has this alias or digest."""
        return self.heads is None or any(fnmatchcase(name, pattern) for pattern in self.heads)

    def permits_head(self, head: Held) -> bool:
        """Whether it may use a head: by one of the head's names, or since it sent the whole head itself."""
        return self.caller in head.senders or any(map(self.permits_name, (head.digest, *head.aliases)))

    def check_alias(self, name: str, field: str) -> None:
        """Checks the alias by which a caller names a head, whether there is one or not. A digest passes.

        Raises:
            NotPermittedError: This caller may not use it.
        """
        if not is_digest(name) and not self.permits_name(name):
            allowed = ", ".join(self.heads or ()) or "none"
            came = one_line(name, MOST_SHOWN)
            raise NotPermittedError(f"{field}: expected a head that this caller may use, {allowed}; got {came}")

    def check_deletes(self, head: Held) -> None:
        """Checks whether the caller may take a head from all others too.

        Raises:
            NotPermittedError: Others sent it as well, or name it as this caller may not.
        """
        is_its_own = head.senders <= {self.caller} and all(map(self.permits_name, head.aliases))
        if not is_its_own and not self.permits_name(head.digest):
            raise NotPermittedError("name: expected an alias, since others use this head too")

    def check_registers_heads(self) -> None:
        """Checks whether the caller may register, name and delete heads.

        Raises:
            NotPermittedError: It may not.
        """
        if not self.registers_heads:
            raise NotPermittedError("expected a caller that may register, name and delete heads")


ANYTHING = Permission()
