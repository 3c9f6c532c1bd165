"""From the arguments of a loss to an evaluation that any transport can carry. `Client` documents them."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy.typing as npt

from losswire import v1
from losswire.losses import LOSSES, heads_of
from losswire_client._request.arrays import floating_array, target_array
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.fields import ignore_index_of
from losswire_client._request.hints import hinting
from losswire_client._request.options import Options
from losswire_client._request.plausibility import check_plausible

HIDDEN = {"head": "input", "target_head": "target"}  # arguments that are hidden states, by those that name their heads


def put_together(
    loss: str,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    reduction: str,
    own_options: Mapping[str, Any],
    run_key: v1.RunKey | None = None,
    **options: Unpack[Options],
) -> Evaluation:
    """Puts an evaluation together and checks it.

    Args:
        loss: Name of the loss.
        input: The input of the loss.
        target: The target of the loss.
        reduction: ``none``, ``mean`` or ``sum``.
        own_options: Options of this loss alone, by their names.
        run_key: Its place in a run; None if it is in none.
        **options: Options that all losses have.

    Raises:
        InvalidArgumentError: A dtype, a shape or an option is wrong.
    """
    of_numbers = LOSSES[loss].elementwise or loss == "kl_divergence"
    to_array = floating_array if of_numbers else target_array
    evaluation = Evaluation(loss, input, to_array("target", target), reduction, **options)
    if run_key is not None:
        evaluation.request.run_key.CopyFrom(run_key)
    for name, value in own_options.items():
        evaluation.set_option(name, value)
    with hinting(evaluation):
        evaluation.complete()
        if evaluation.strict:
            _check_plausible(evaluation)
    return evaluation


def _check_plausible(evaluation: Evaluation) -> None:
    arrays = evaluation.arrays
    hidden = [HIDDEN[argument] for argument in heads_of(evaluation.request.spec)]
    check_plausible(
        *(evaluation.loss, evaluation.input, arrays["target"], ignore_index_of(evaluation.options)),
        arrays.get("labels"),
        hidden=hidden,
        some_classes="target_classes" in arrays,
    )
