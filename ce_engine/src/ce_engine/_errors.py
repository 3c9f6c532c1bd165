class EngineError(Exception):
    """Base of the engine's errors."""


class InvalidArgumentError(EngineError, ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``.
        problem: What was expected and what came.
        position: Of the wrong element, as in ``("row", 5)``; None if no one element is wrong.
    """

    def __init__(self, argument: str, problem: str, position: tuple[str, int] | None = None) -> None:
        self.argument = argument
        self.problem = problem if position is None else f"{problem} at {position[0]} {position[1]}"
        self.position = position
        self._what = problem
        super().__init__(f"{argument}: {self.problem}")

    def further_on(self, rows: int) -> "InvalidArgumentError":
        """The same error in a larger batch, where so many rows come before this one's."""
        position = self.position and (self.position[0], self.position[1] + rows)
        return InvalidArgumentError(self.argument, self._what, position)


class QueueFullError(EngineError):
    """Too many rows wait already, or too many of this caller's. Nothing was queued; try again later."""


class EngineClosedError(EngineError):
    """The engine takes no more slabs."""


class DeadlineExceededError(EngineError, TimeoutError):
    """The slab's turn came after its deadline; it was not computed."""


class DeviceLostError(EngineClosedError):
    """The device does not work any more, and no slab can be evaluated there until this process is started anew."""


class OutOfMemoryError(EngineError, MemoryError):
    """Too little memory is free for the slab, on the device or on the host. Other slabs are evaluated as ever."""
