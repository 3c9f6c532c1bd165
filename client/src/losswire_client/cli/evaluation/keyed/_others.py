"""Refuses to count a file twice, or together with what was in its place before."""

import re
from collections.abc import Sequence

from losswire_client import Run
from losswire_client.cli._failures import CommandError
from losswire_client.cli.evaluation.keyed._contents import DIGITS
from losswire_client.cli.evaluation.keyed._files import KeyedFile

KEY = re.compile(rf"(.+)@([0-9a-f]{{{DIGITS}}}):\d+(:.*)?", re.DOTALL)
MOST_KEYS = 100_000  # that are looked through, which takes seconds


def check_no_others(run: Run, files: Sequence[KeyedFile], counted: int, key_count: int) -> None:
    """Looks for these files among the other keys of a run.

    Args:
        run: The run.
        files: The files.
        counted: How many keys of these files count.
        key_count: How many keys count in the run.

    Raises:
        CommandError: Another file of one's name counts, or one of the files counts by another name.
    """
    if counted >= key_count or key_count > MOST_KEYS:
        return
    names = {file.name: file for file in files}
    fingerprints = {file.fingerprint: file for file in files}
    for each in run.keys():  # noqa: SIM118 - of the server, with what they count
        if found := KEY.fullmatch(each.key):
            name, fingerprint = found[1], found[2]
            if name not in names and fingerprint in fingerprints:
                raise _counted_as(run, fingerprints[fingerprint], name)
            if name in names and fingerprint != names[name].fingerprint:
                raise _other_of_name(run, names[name])


def _counted_as(run: Run, file: KeyedFile, name: str) -> CommandError:
    problem = f"the run {run.name} has the same file by the name of {name}, which would count twice as {file.name}"
    return CommandError(f"{file.source.path}: {problem}: give all commands the same --root")


def _other_of_name(run: Run, file: KeyedFile) -> CommandError:
    problem = f"the run {run.name} has another file by the name of {file.name}, or the same one read in another way"
    return CommandError(
        f"{file.source.path}: {problem}: for a file made anew create another run, and for files that have one name "
        "in different folders give all commands the same --root"
    )
