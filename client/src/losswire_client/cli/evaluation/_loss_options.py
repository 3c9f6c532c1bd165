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
    _check("cross_entropy", CLASS, options, ("ignore_index", "label_smoothing", "z_loss"))


def check_divergence_options(**options: Any) -> None:
    """Checks the options of a divergence, and those that all losses have.

    Raises:
        BadParameter: An option has a value that no file could be evaluated with, or does not go with another one.
    """
    options["labels"] = CLASS
    if options["tail"]:
        options["target_classes"] = np.array([[0, 1]])
    own = ("divergence", "beta", "temperature", "tail", "target_classes", "labels", "ignore_index")
    _check("kl_divergence", ROW, options, own)


def _check(loss: str, target: Any, options: dict[str, Any], own: tuple[str, ...]) -> None:
    """Puts an evaluation of one row together, which nobody sends."""
    of_loss = {name: options.pop(name) for name in own if name in options}
    try:
        put_together(loss, ROW, target, "none", of_loss, **options)
    except InvalidArgumentError as error:
        raise wrong_option(f"--{error.argument.replace('_', '-')}", error) from error
