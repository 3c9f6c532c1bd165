"""Two models' distributions in files, compared row by row."""

from losswire_client.cli.comparison import keyed
from losswire_client.cli.comparison._command import Told, compare_alone, compare_keyed
from losswire_client.cli.comparison._plan import IGNORE_INDEX, Divergence, Plan, Tail
from losswire_client.cli.comparison._usage import check_options

__all__ = [
    "IGNORE_INDEX",
    "Divergence",
    "Plan",
    "Tail",
    "Told",
    "check_options",
    "compare_alone",
    "compare_keyed",
    "keyed",
]
