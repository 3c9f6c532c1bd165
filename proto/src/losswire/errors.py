"""What is wrong with a message, said by the path of its field."""


class FieldError(ValueError):
    """A field of a message is wrong.

    Attributes:
        field: Path of the field, as in ``spec.cross_entropy.weight``.
        problem: What was expected and what came.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
