"""Refuses to count a file twice, or together with what was in its place before."""

from collections.abc import Mapping
from typing import NamedTuple

from losswire_client import Run
from losswire_client._keys._names import Parsed, parsed

MOST_KEYS = 100_000  # that are looked through, which takes seconds


class OtherFile(NamedTuple):
    """A file that must not be added, and why."""

    name: str
    problem: str


def problem_of_others(run: Run, files: Mapping[str, str], counted: int, key_count: int, root: str) -> OtherFile | None:
    """Looks for files among the other keys of a run: another file of one's name, or a file that counts by another.

    Args:
        run: The run.
        files: The fingerprint of each file, by its name.
        counted: How many keys of these files count.
        key_count: How many keys count in the run.
        root: What users call the folder from which paths are names.
    """
    if counted >= key_count or key_count > MOST_KEYS:
        return None
    names = {fingerprint: name for name, fingerprint in files.items()}
    for each in run.keys():  # noqa: SIM118 - of the server, with what they count
        if (found := parsed(each.key)) and (problem := _problem(run, found, files, names, root)):
            return problem
    return None


def _problem(
    run: Run, found: Parsed, files: Mapping[str, str], names: Mapping[str, str], root: str
) -> OtherFile | None:
    if found.name not in files and found.fingerprint in names:
        name = names[found.fingerprint]
        problem = f"the run {run.name} has the same file by the name of {found.name}, which would count twice as {name}"
        return OtherFile(name, f"{problem}: give all that add to it the same {root}")
    if files.get(found.name, found.fingerprint) != found.fingerprint:
        problem = f"the run {run.name} has another file by the name of {found.name}, or the same one read otherwise"
        advice = "for a file made anew create another run, and for files that have one name in different folders"
        return OtherFile(found.name, f"{problem}: {advice} give all that add to it the same {root}")
    return None
