class InvalidArgumentError(ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``.
        problem: What was expected and what came.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument
        self.problem = problem
