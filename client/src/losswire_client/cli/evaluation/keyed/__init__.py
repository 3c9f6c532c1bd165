"""Files as parts of a run: each block of rows is evaluated under a key, and counts once."""

from losswire_client.cli.evaluation.keyed._command import evaluate_in_run
from losswire_client.cli.evaluation.keyed._usage import check_usage, options_given
from losswire_client.cli.evaluation.keyed._wanted import Wanted, labels_of

__all__ = ["Wanted", "check_usage", "evaluate_in_run", "labels_of", "options_given"]
