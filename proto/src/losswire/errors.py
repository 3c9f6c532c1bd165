"""The error for a wrong field of a message."""


class FieldError(ValueError):
    """A field of a message is wrong.

    Attributes:
        field: Path of the field, as in ``spec.cross_entropy.weight``.
        problem: What was expected, and the value or form that was found instead.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
