"""The losses of files, added up exactly."""

from losswire_client.cli.evaluation._kinds import with_head, with_loss
from losswire_client.cli.evaluation._loss_options import CLASS, ROW, check_by_row, check_loss_options
from losswire_client.cli.evaluation._plan import IGNORE_INDEX, Loss, Plan
from losswire_client.cli.evaluation._progress import progress_bar
from losswire_client.cli.evaluation._run import Outcome, evaluate_files
from losswire_client.cli.evaluation._usage import check_options
from losswire_client.cli.evaluation._weights import class_weight
from losswire_client.cli.evaluation.report._picture import save_picture
from losswire_client.cli.evaluation.report._report import end, show
from losswire_client.cli.evaluation.report._row_files import row_writer

__all__ = [
    "CLASS",
    "IGNORE_INDEX",
    "ROW",
    "Loss",
    "Outcome",
    "Plan",
    "check_by_row",
    "check_loss_options",
    "check_options",
    "class_weight",
    "end",
    "evaluate_files",
    "progress_bar",
    "row_writer",
    "save_picture",
    "show",
    "with_head",
    "with_loss",
]
