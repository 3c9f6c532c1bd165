"""Pairs of files as parts of a run: each block of rows is compared under a key, and counts once."""

from losswire_client.cli.comparison.keyed._compare import compare_in_run
from losswire_client.cli.comparison.keyed._report import show
from losswire_client.cli.comparison.keyed._usage import check_usage, options_given
from losswire_client.cli.evaluation.keyed._report import end
from losswire_client.cli.evaluation.keyed._wanted import Wanted, labels_of

__all__ = ["Wanted", "check_usage", "compare_in_run", "end", "labels_of", "options_given", "show"]
