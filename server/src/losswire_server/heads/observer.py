"""Who is told of what happens to heads."""

from typing import Literal, Protocol

Outcome = Literal["registered", "known", "quota", "mismatch"]  # of a registration; the last two refuse it


class Observer(Protocol):
    """Who is told of what happens to heads, in any thread. It must be quick, and not raise."""

    def came(self, outcome: Outcome) -> None:
        """A head was to be registered."""

    def evicted(self) -> None:
        """A head made room for another one."""

    def missed(self) -> None:
        """A request named a head that is not here."""


class NoObserver:
    """Is told, and does nothing."""

    def came(self, outcome: Outcome) -> None:
        pass

    def evicted(self) -> None:
        pass

    def missed(self) -> None:
        pass


UNSEEN = NoObserver()
