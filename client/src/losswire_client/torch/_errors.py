"""What a wrong argument raises where a script expects PyTorch's own error."""

from typing import Self

from losswire_client import InvalidArgumentError


class TorchArgumentError(InvalidArgumentError, RuntimeError, IndexError, TypeError):
    """An argument is wrong; nothing was computed.

    It is all that ``torch.nn.functional`` raises for wrong arguments, so that a script goes on working that catches
    them: a `ValueError` (sizes), a `RuntimeError` (dtypes, ranges), an `IndexError` (classes out of range) and a
    `TypeError` (no tensor).

    Attributes:
        argument: Its name, as in ``target``; empty if the server named none.
    """

    @classmethod
    def of(cls, error: InvalidArgumentError) -> Self:
        """The same error, as PyTorch's too."""
        same = cls(*error.args)
        vars(same).update(vars(error))
        return same
