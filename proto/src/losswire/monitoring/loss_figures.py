"""Figures of the losses of series: what do the models' losses do?"""

from losswire.monitoring.expressions import Difference, Exponential, Quantile, Rate, Ratio
from losswire.monitoring.figure import Curve, Figure, one

_KEYS = ("series", "loss")
_MEAN = Ratio(
    Difference(Rate("losswire_loss_sum_total", _KEYS), Rate("losswire_negative_loss_sum_total", _KEYS)),
    Difference(Rate("losswire_weight_sum_total", _KEYS), Rate("losswire_negative_weight_sum_total", _KEYS)),
)


LOSSES = (
    one(
        "mean_loss",
        "Mean loss",
        "loss",
        "Mean loss of each series: the sum of losses divided by the sum of weights, over all servers.",
        _MEAN,
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
        "e to the power of the mean loss, for losses in nats of language models.",
        Exponential(_MEAN),
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
)
