class EngineError(Exception):
    """Base of what the engine raises."""


class InvalidArgumentError(EngineError, ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``.
        problem: What was expected and what came.
        place: In what and where it is, as in ``("row", 5)``; None if it is everywhere.
    """

    def __init__(self, argument: str, problem: str, place: tuple[str, int] | None = None) -> None:
        self.argument = argument
        self.problem = problem if place is None else f"{problem} at {place[0]} {place[1]}"
        self.place = place
        self._what = problem
        super().__init__(f"{argument}: {self.problem}")

    def further_on(self, rows: int) -> "InvalidArgumentError":
        """The same error in a batch of which this one's rows come after so many others."""
        place = self.place and (self.place[0], self.place[1] + rows)
        return InvalidArgumentError(self.argument, self._what, place)


class QueueFullError(EngineError):
    """Too many rows wait already, or too many of this caller's. Nothing was queued; it may be tried again later."""


class EngineClosedError(EngineError):
    """The engine takes nothing more."""


class DeadlineExceededError(EngineError, TimeoutError):
    """The slab's turn came after its deadline; it was not computed."""
