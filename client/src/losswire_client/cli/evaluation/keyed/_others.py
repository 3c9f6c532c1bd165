"""Refuses to count a file twice, or together with what was in its place before."""

from collections.abc import Sequence

from losswire_client import Run
from losswire_client._keys import problem_of_others
from losswire_client.cli._failures import CommandError
from losswire_client.cli.evaluation.keyed._files import KeyedFile


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
    by_name = {file.name: file for file in files}
    fingerprints = {file.name: file.fingerprint for file in files}
    if found := problem_of_others(run, fingerprints, counted, key_count, "--root"):
        raise CommandError(f"{by_name[found.name].source.path}: {found.problem}")
