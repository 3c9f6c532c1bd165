"""What the server refuses, in the words of the command and of the file."""

import re

from losswire_client import InvalidArgumentError, LosswireError
from losswire_client._readers import PlacedBatch, told_place
from losswire_client.cli.evaluation._hints import with_options


def translate(error: LosswireError) -> None:
    """Puts an error in the words of the command. The user knows no batches, and knows options instead of arguments."""
    error.batch = None
    if isinstance(error, InvalidArgumentError):
        error.hint = with_options(error.hint)


def told_of(batch: PlacedBatch, error: InvalidArgumentError) -> str:
    """The text of a batch's error, with the place in the file instead of the row or element of the batch."""
    of_target = error.argument == "target"
    shape = batch.target.shape if of_target else batch.input.shape

    def place(match: re.Match[str]) -> str:
        return f"at {told_place(batch.place(int(match[1]), shape, of_target=of_target))}"

    return re.sub(r"\bat (?:row|element) (\d+)", place, str(error))
