"""What a run says of the files that are added to it, and which files it must not be given."""

from collections.abc import Sequence

from losswire_client import ConflictError, Run
from losswire_client._errors import invalid_argument
from losswire_client._keys import Terms, problem_of_others, terms_of
from losswire_client.ray._parts import Names, Part


def terms_for(run: Run, names: Names) -> Terms:
    """How files are put into keys: as the run's labels say, and what they leave open as the caller says.

    Raises:
        InvalidArgumentError: The two contradict each other.
    """
    try:
        terms = terms_of(run.labels)
    except ValueError as error:
        raise invalid_argument("run", str(error)) from error
    if names.slice and names.slice != terms.slice_by and run.labels.keys() & {"block_rows", "slice_by"}:
        there = f"the slices of {terms.slice_by}" if terms.slice_by else "no slices"
        raise invalid_argument("slice", f"expected none, since the run {run.name} has {there}, got {names.slice}")
    return Terms(terms.block_rows, terms.slice_by or names.slice)


def check_no_others(run: Run, parts: Sequence[Part], counted: int) -> None:
    """Looks for the files among the other keys of a run.

    Raises:
        ConflictError: Another file of one's name counts, or one of the files counts by another name.
    """
    fingerprints = {part.file.name: part.fingerprint for part in parts}
    if found := problem_of_others(run, fingerprints, counted, run.progress().key_count or 0, "root"):
        raise ConflictError(f"{found.name}: {found.problem}")
