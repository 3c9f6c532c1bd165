"""Blocks of files as keys of a run: the same keys for everybody who adds the files, by whatever means."""

from losswire_client._keys._contents import DIGITS, Reading, fingerprint
from losswire_client._keys._names import check_name, key_of, parsed
from losswire_client._keys._others import problem_of_others
from losswire_client._keys._terms import Terms, is_of_files, rows_of_block, terms_of

__all__ = [
    "DIGITS",
    "Reading",
    "Terms",
    "check_name",
    "fingerprint",
    "is_of_files",
    "key_of",
    "parsed",
    "problem_of_others",
    "rows_of_block",
    "terms_of",
]
