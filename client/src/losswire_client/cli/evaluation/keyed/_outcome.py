"""What a command has added to a run, and what the run has come to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from losswire_client import Result, RunResult
from losswire_client._readers import FileError
from losswire_client.cli._failures import CommandError, ExitCode, exit_code
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._warnings import Looks
from losswire_client.cli.evaluation.keyed._files import KeyedFile
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._nonfinite import NonfiniteLosses


class KeyTally:
    """What a command has added of a file.

    Attributes:
        key_count: Keys that count now and did not before.
        row_count: Rows of these keys, without rows that are ignored.
    """

    def __init__(self) -> None:
        self.key_count = self.row_count = 0

    def count(self, result: Result) -> None:
        """Counts a key, unless it counted before."""
        if not result.was_counted:
            self.key_count += 1
            self.row_count += result.row_count


TallyT = TypeVar("TallyT", bound=KeyTally)


class FileTally(KeyTally):
    """What a command has added of a file of logits, and what is doubtful of it.

    Attributes:
        nonfinite: Rows that were evaluated, and whose loss is NaN or infinite.
        looks: Reasons to doubt what was evaluated.
    """

    def __init__(self, input_name: str, plan: Plan) -> None:
        super().__init__()
        self._evaluated_count = 0
        self.nonfinite = NonfiniteLosses()
        self.looks = Looks(input_name, plan)

    @property
    def evaluated_count(self) -> int:
        """Rows that were evaluated, whether or not they counted before."""
        return self._evaluated_count

    def add(self, evaluated: Evaluated) -> None:
        result = evaluated.result
        self._evaluated_count += result.row_count
        self.count(result)
        self.nonfinite.add(evaluated)
        self.looks.add(evaluated)


@dataclass
class KeyedOutcome(Generic[TallyT]):
    """The outcome of a command.

    Attributes:
        files: The files that could be opened.
        expected_count: How many keys they have.
        found_count: How many of these counted before the command came to them.
        tallies: What the command has added, by the name of the file.
        failures: The errors of files.
        warnings: Reasons to doubt the numbers of files, and those of the run.
        seconds: How long the evaluations took.
        missing_count: Keys that do not count in the end.
        result: What the run has come to.
    """

    files: list[KeyedFile]
    expected_count: int = 0
    found_count: int = 0
    tallies: dict[str, TallyT] = field(default_factory=dict)
    failures: list[tuple[Path, CommandError | FileError]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    missing_count: int = 0
    result: RunResult | None = None

    @property
    def added_count(self) -> int:
        """Keys that the command has added."""
        return sum(tally.key_count for tally in self.tallies.values())

    @property
    def added_rows(self) -> int:
        """Rows that the command has added."""
        return sum(tally.row_count for tally in self.tallies.values())

    @property
    def other_count(self) -> int:
        """Keys of other files."""
        counted = self.result.key_count if self.result else None
        return (counted or 0) - (self.expected_count - self.missing_count)

    @property
    def is_complete(self) -> bool:
        """Whether all keys of all files count."""
        return not self.failures and not self.missing_count

    @property
    def exit_code(self) -> ExitCode:
        return max((exit_code(error) for _, error in self.failures), default=ExitCode.OK)
