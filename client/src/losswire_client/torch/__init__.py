"""PyTorch's cross-entropy family with autograd, evaluated by a server: the same names, the same arguments.

A training script only puts ``losswire_client.`` before ``torch`` in one import. It finds the server by the environment
variable ``LOSSWIRE_TARGET``, as in ``localhost:50051``::

    from losswire_client.torch import nn                       # for: from torch import nn
    import losswire_client.torch.nn.functional as F            # for: import torch.nn.functional as F
    from losswire_client.torch.nn import CrossEntropyLoss      # for: from torch.nn import CrossEntropyLoss

The server evaluates the losses that this module names. Everything else in `nn` is PyTorch's own. About the losses:

- The loss has the input's dtype and device, as in PyTorch. For float16 and bfloat16 it is float32 only under autocast.
  The server computes half precision in float32, and its result is rounded once.
- A forward pass is one call. It returns the loss and, if the input requires a gradient, the gradient. A backward pass
  makes no call. If no gradient can be wanted, as under ``torch.no_grad``, none is computed and none is sent.
- A float16 input that requires a gradient travels as float32. Otherwise the gradient of a mean over many rows would
  vanish in float16 before a loss scale of `torch.amp.GradScaler` could save it.
- Only the input gets a gradient. Targets and weights that require a gradient are refused before anything is sent.
- Derivatives of any order, forward mode, batches of incoming gradients and `torch.func` are served, and cost no further
  call. `torch.vmap` over a loss is refused with `NotServedError`: give all samples in one batch.
- Compiled code makes the call outside its graph: `torch.compile` breaks the graph there, and refuses
  ``fullgraph=True``.
- `linear_cross_entropy` and `LinearCrossEntropyLoss` take a frozen head in place of a layer that is trained, and
  `kl_divergence` and `KlDivergence` compare a student with a teacher. Their gradient comes once: second derivatives,
  forward mode and those of a `z_loss` are refused with `NotServedError`.
- ``nn.LinearCrossEntropyLoss`` and ``nn.functional.linear_cross_entropy`` are PyTorch's own, evaluated in this process;
  a warning says so.
- Errors are the errors of `losswire_client`, and name the argument. A wrong argument is a `TorchArgumentError`, which
  also has all types of errors that PyTorch raises for wrong arguments.

Losses that were given no client use one that the process shares: see `set_default_client`.
"""

from losswire_client._install import missing

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(missing("losswire_client.torch needs PyTorch", "torch")) from error

from losswire_client.torch import nn
from losswire_client.torch._clients import set_default_client
from losswire_client.torch._errors import TorchArgumentError
from losswire_client.torch._functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    nll_loss,
)
from losswire_client.torch._modules import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from losswire_client.torch._own_functional import kl_divergence, linear_cross_entropy
from losswire_client.torch._own_modules import KlDivergence, LinearCrossEntropyLoss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "KlDivergence",
    "LinearCrossEntropyLoss",
    "NLLLoss",
    "TorchArgumentError",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_divergence",
    "linear_cross_entropy",
    "nll_loss",
    "nn",
    "set_default_client",
]
