class EngineError(Exception):
    """Base of what the engine raises."""


class InvalidArgumentError(EngineError, ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``.
        problem: What was expected and what came.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument
        self.problem = problem


class QueueFullError(EngineError):
    """Too many rows wait already, or too many of this caller's. Nothing was queued; it may be tried again later."""


class EngineClosedError(EngineError):
    """The engine takes nothing more."""


class DeadlineExceededError(EngineError, TimeoutError):
    """The slab's turn came after its deadline; it was not computed."""
