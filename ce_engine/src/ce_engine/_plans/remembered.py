"""Remembers how calls were planned. A call that differs from an earlier one in numbers alone has only those checked.

Checking the arguments of a small batch, and deciding what to do with them, takes longer than its losses.
"""

import inspect
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, ParamSpec, cast

from torch import Tensor

from ce_engine._kernel_rows import Rows
from ce_engine._plans.index_target import classes_of
from ce_engine._plans.validation import is_plain
from ce_engine._slab import Form, Slab

P = ParamSpec("P")
CheckNumbers = Callable[[Tensor, Tensor], None]  # of input and target

MOST = 1024  # forms of each loss


def remembers_forms(check_numbers: CheckNumbers | None = None) -> Callable[[Callable[P, Slab]], Callable[P, Slab]]:
    """Decorates the function that plans a loss: it is called once for calls of the same form.

    A form is everything of a call except the numbers of input and target. Forms of calls with other tensors, such as
    weights, and of calls on a GPU, are not remembered.

    Args:
        check_numbers: Checks the numbers of calls whose form is known. Targets that are classes are checked anyway.
    """

    def decorate(plan: Callable[P, Slab]) -> Callable[P, Slab]:
        forms: dict[Hashable, Form] = {}
        signature = inspect.signature(plan)

        def remember(key: Hashable, slab: Slab, arguments: dict[str, Any]) -> None:
            form = Form.of(slab)
            if form is not None and not 0 <= arguments.get("ignore_index", -100) < slab.kind.class_count:
                if len(forms) == MOST:
                    forms.clear()
                forms[key] = form

        @wraps(plan)
        def planned(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Slab:
            key = _key(input, target, args, options)
            form = forms.get(key)
            if form is not None:
                if check_numbers is not None:
                    check_numbers(input, target)
                slab = _slab(form, input, target)
                if slab is not None:
                    return slab
            slab = cast("Callable[..., Slab]", plan)(input, target, *args, **options)
            if form is None and key is not None:
                remember(key, slab, signature.bind(input, target, *args, **options).arguments)
            return slab

        return cast("Callable[P, Slab]", planned)

    return decorate


def _slab(form: Form, input: Tensor, target: Tensor) -> Slab | None:
    """The slab of a call; None if not every target is a class."""
    x = input.detach() if input.requires_grad else input
    if not form.has_classes:
        return Slab(form.kind, x, target.detach(), Rows(scale=form.scale), form.reduction)
    classes = classes_of(target, form.kind.class_count)
    if classes is None:
        return None
    slab = Slab(form.kind, x, None, Rows(classes, scale=form.scale), form.reduction)
    slab.form = form
    return slab


def _key(input: Tensor, target: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Hashable | None:
    """The same for calls of one form; None for calls that are not remembered."""
    if not (is_plain(input) and is_plain(target)):
        return None
    if not (args or options):
        return input.shape, input.dtype, target.shape, target.dtype
    values = (*args, *options.values())
    if any(isinstance(value, Tensor) for value in values):  # whose numbers may change
        return None
    key = (input.shape, input.dtype, target.shape, target.dtype, *options, *values, *map(type, values))
    try:
        hash(key)
    except TypeError:  # a list, or a value that is wrong
        return None
    return key
