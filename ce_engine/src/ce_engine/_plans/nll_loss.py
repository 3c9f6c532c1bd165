from typing import Unpack

from torch import Tensor

from ce_engine._kernel_rows import Rows
from ce_engine._plans.checks import check_factors_of_rows, check_weight_of_classes
from ce_engine._plans.index_target import IndexTarget
from ce_engine._plans.options import Common, Options
from ce_engine._plans.planning import computed, plan, product, sample_weight
from ce_engine._plans.remembered import remembers_forms
from ce_engine._plans.validation import check_class_input, check_index_target, check_type
from ce_engine._rows import class_count, target_shape
from ce_engine._slab import Slab


@remembers_forms()
def nll_loss(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk)
    weight: Tensor | str | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    **common: Unpack[Common],
) -> Slab:
    """Negative log-likelihood, as ``torch.nn.functional.nll_loss``: for each row, the negated input at its target.

    Args:
        input: Log-probabilities, in float64, float32, float16 or bfloat16; not checked to be log-probabilities.
        target: Class indices in any integer dtype, each in [0, C) or equal to ``ignore_index``.
        weight: As in `cross_entropy`.
        ignore_index: As in `cross_entropy`.
        reduction: ``none``, ``mean`` or ``sum``. ``mean`` divides by the sum of the weights of the targets' classes.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    options = Options(reduction, **common)
    if not options.checked:
        check_type("ignore_index", ignore_index, int)
        check_class_input(input)
        check_index_target(target, input)
        check_weight_of_classes(weight, input)
        check_factors_of_rows(options, target_shape(input))
    checked = IndexTarget.of(target, class_count(input), ignore_index)
    row_weight, weight_sum = checked.row_weight(checked.class_weight(weight))
    factor = product(row_weight, sample_weight(options))
    return plan(
        "nll_loss",
        input,
        options,
        Rows(
            checked.classes,
            checked.ignored,
            computed(factor, input),
        ),
        shape=target.shape,
        class_count=checked.class_count,
        weight_sum=weight_sum,
        ignored_count=checked.ignored_count,
        row_weight=row_weight,
    )
