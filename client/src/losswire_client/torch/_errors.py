"""The error of a wrong argument for scripts that expect PyTorch's own error."""

from typing import Self

from losswire_client import InvalidArgumentError


class TorchArgumentError(InvalidArgumentError, RuntimeError, IndexError, TypeError):
    """An argument is wrong; nothing was computed.

    It has all types of errors that ``torch.nn.functional`` raises for wrong arguments, so scripts that catch these
    still work: `ValueError` (sizes), `RuntimeError` (dtypes, ranges), `IndexError` (classes out of range) and
    `TypeError` (no tensor).

    Attributes:
        argument: Name of the argument, as in ``target``; empty if the server named none.
    """

    @classmethod
    def of(cls, error: InvalidArgumentError) -> Self:
        """The same error as a `TorchArgumentError`."""
        same = cls(*error.args)
        vars(same).update(vars(error))
        return same
