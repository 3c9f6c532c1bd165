"""Options of a loss, checked by the SDK's own rules before any file is read."""

from typing import Any

import numpy as np

from losswire_client import InvalidArgumentError
from losswire_client._request.arguments import put_together
from losswire_client.cli._failures import wrong_option

ROW = np.zeros((1, 2), np.float32)
CLASS = np.zeros(1, np.int64)


def check_loss_options(**options: Any) -> None:
    """Checks options that losses of class indices have, and those that all losses have.

    Raises:
        BadParameter: An option has a value that no file could be evaluated with.
    """
    own = {name: options.pop(name) for name in ("ignore_index", "label_smoothing", "z_loss")}
    check_by_row("cross_entropy", CLASS, own, **options)


def check_by_row(loss: str, target: Any, own_options: dict[str, Any], **options: Any) -> None:
    """Puts an evaluation of one row of two classes together, which nobody sends.

    Raises:
        BadParameter: An option has a value that no file could be evaluated with, or does not go with another one.
    """
    try:
        put_together(loss, ROW, target, "none", own_options, **options)
    except InvalidArgumentError as error:
        raise wrong_option(f"--{error.argument.replace('_', '-')}", error) from error
