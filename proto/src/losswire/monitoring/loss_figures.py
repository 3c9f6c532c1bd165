"""Figures of the losses of series: what do the models' losses do?"""

from losswire.losses import LOSSES as KINDS
from losswire.monitoring.expressions import Difference, Exponential, Quantile, Rate, Ratio, Value, Where
from losswire.monitoring.figure import Curve, Figure, one

_KEYS = ("series", "loss")
_LIKELIHOODS: Where = {  # over classes: a divergence's exponential is no perplexity
    "loss": tuple(name for name, kind in KINDS.items() if not kind.elementwise and name != "kl_divergence")
}


def _signed(name: str, where: Where) -> Difference:
    """A sum that two counters keep, since a counter cannot fall."""
    above, below = (Rate(f"losswire_{sign}{name}_sum_total", _KEYS, where) for sign in ("", "negative_"))
    return Difference(above, below)


def _mean(where: Where | None = None) -> Ratio:
    return Ratio(_signed("loss", where or {}), _signed("weight", where or {}))


LOSSES = (
    one(
        "mean_loss",
        "Mean loss",
        "loss",
        "Mean loss of each series: the sum of losses divided by the sum of weights, over all servers.",
        _mean(),
    ),
    Figure(
        "loss_quantiles",
        "Losses of rows",
        "loss",
        "Quantiles of the losses of rows, without weights. Between two bounds of the histogram they are estimates.",
        (
            Curve("p10", Quantile(0.1, "losswire_row_loss", _KEYS)),
            Curve("p50", Quantile(0.5, "losswire_row_loss", _KEYS)),
            Curve("p90", Quantile(0.9, "losswire_row_loss", _KEYS)),
        ),
    ),
    one(
        "perplexity",
        "Perplexity",
        "count",
        "e to the power of the mean loss, of likelihoods over classes. A language model's classes are its tokens.",
        Exponential(_mean(_LIKELIHOODS)),
    ),
    one("series_rows", "Rows by series", "per second", "Rows that counted.", Rate("losswire_rows_total", _KEYS)),
    one(
        "nonfinite_rows",
        "Rows that are not finite",
        "per second",
        "Rows whose loss is NaN or infinite. They are not in the mean.",
        Rate("losswire_nonfinite_rows_total", _KEYS),
    ),
    one(
        "unsummed",
        "Evaluations left out",
        "per second",
        "Evaluations that are not in the mean, by the reason: a weight is nonfinite, or a sum is immense.",
        Rate("losswire_unsummed_evaluations_total", (*_KEYS, "reason")),
    ),
    one(
        "ignored_rows",
        "Ignored rows",
        "per second",
        "Rows ignored because of ignore_index.",
        Rate("losswire_ignored_rows_total", _KEYS),
    ),
    one(
        "top1",
        "Top-1 accuracy",
        "ratio",
        "The part of the rows whose prediction is the target, of requests that asked for predictions.",
        Ratio(Rate("losswire_correct_rows_total", _KEYS), Rate("losswire_predicted_rows_total", _KEYS)),
    ),
    Figure(
        "series_in_use",
        "Series in use",
        "count",
        "Names of series in use, and how many there may be. Beyond it losses are added up under the name other.",
        (
            Curve("in use", Value("losswire_series")),
            Curve("limit", Value("losswire_limit", where={"limit": ("max_series",)})),
        ),
    ),
)
