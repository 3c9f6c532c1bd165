"""Two models' distributions in files, compared row by row."""

from losswire_client.cli.comparison import keyed
from losswire_client.cli.comparison._evaluate import Outcome, compare_files
from losswire_client.cli.comparison._plan import IGNORE_INDEX, Divergence, Plan, Tail
from losswire_client.cli.comparison.report._picture import save_picture
from losswire_client.cli.comparison.report._report import end, output_path, show
from losswire_client.cli.comparison.report._row_files import RowWriter

__all__ = [
    "IGNORE_INDEX",
    "Divergence",
    "Outcome",
    "Plan",
    "RowWriter",
    "Tail",
    "compare_files",
    "end",
    "keyed",
    "output_path",
    "save_picture",
    "show",
]
