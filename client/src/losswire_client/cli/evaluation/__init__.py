"""The losses of files, added up exactly."""

from losswire_client.cli.evaluation._facts import as_json
from losswire_client.cli.evaluation._picture import save_picture
from losswire_client.cli.evaluation._plan import IGNORE_INDEX, Loss, Plan
from losswire_client.cli.evaluation._progress import progress_bar
from losswire_client.cli.evaluation._run import Outcome, evaluate_files
from losswire_client.cli.evaluation._tables import tables
from losswire_client.cli.evaluation._weights import class_weight

__all__ = [
    "IGNORE_INDEX",
    "Loss",
    "Outcome",
    "Plan",
    "as_json",
    "class_weight",
    "evaluate_files",
    "progress_bar",
    "save_picture",
    "tables",
]
