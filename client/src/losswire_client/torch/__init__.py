"""PyTorch's cross-entropy family with autograd, evaluated by a server: the same names, the same arguments.

A training script changes one import, by what stands in front of ``torch``, and finds the server by the environment
variable ``LOSSWIRE_TARGET``, as in ``localhost:50051``::

    from losswire_client.torch import nn                       # for: from torch import nn
    import losswire_client.torch.nn.functional as F            # for: import torch.nn.functional as F
    from losswire_client.torch.nn import CrossEntropyLoss      # for: from torch.nn import CrossEntropyLoss

The losses that this module names are evaluated by the server; whatever else `nn` has is PyTorch's own. Of the losses:

- The loss has the input's dtype and device, as in PyTorch: float16 and bfloat16 give float32 under autocast alone. The
  server computes half precision in float32, and what it answers is rounded once.
- A forward pass is one call, which brings the loss and, if the input requires a gradient, the gradient. A backward pass
  calls nobody. Where no gradient can be wanted, as under ``torch.no_grad``, none is computed and none is sent.
- float16 that requires a gradient travels as float32. The gradient of a mean over many rows vanishes in float16 before
  a loss scale of `torch.amp.GradScaler` can save it.
- Only the input gets a gradient. Targets and weights that require one are refused before anything is sent.
- Derivatives of any order, forward mode, batches of incoming gradients and `torch.func` are served, and cost no further
  call. `torch.vmap` over a loss is refused with `NotServedError`: give all samples in one batch.
- Compiled code calls out: `torch.compile` breaks its graph there, and refuses ``fullgraph=True``.
- ``nn.LinearCrossEntropyLoss`` and ``functional.linear_cross_entropy`` are PyTorch's own, evaluated in this process; a
  warning says so.
- Errors are those of `losswire_client`, and name the argument. A wrong argument is a `TorchArgumentError`, which is all
  that PyTorch raises for one, too.

Without a client of their own, losses are evaluated by one that the process shares: see `set_default_client`.
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

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "NLLLoss",
    "TorchArgumentError",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "nll_loss",
    "nn",
    "set_default_client",
]
