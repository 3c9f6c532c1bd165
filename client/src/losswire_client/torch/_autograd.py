"""A loss whose gradient comes with it: one call in the forward pass, none in the backward pass."""

from functools import partial
from typing import Any, Protocol, cast

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from losswire_client import Client, NotServedError, Result
from losswire_client._errors import invalid_argument
from losswire_client.torch._clients import client_or_default

HALVES = (torch.float16, torch.bfloat16)


class Call(Protocol):
    """A loss of a client's, of which the input is missing."""

    def __call__(self, input: Tensor, *, grad: bool) -> Result: ...


def evaluate(loss: str, input: Tensor, client: Client | None, **arguments: object) -> Tensor:
    """One of the client's losses, with its arguments, as a tensor that autograd knows how to differentiate."""
    evaluated = _evaluate
    if torch.compiler.is_compiling():  # as a decorator it would import the compiler where nothing is ever compiled
        evaluated = torch.compiler.disable(_evaluate)  # type: ignore[no-untyped-call]
    return evaluated(loss, input, client, arguments)


def _evaluate(loss: str, input: Tensor, client: Client | None, arguments: dict[str, object]) -> Tensor:
    if not isinstance(input, Tensor):
        raise invalid_argument("input", f"expected a tensor, got a {type(input).__name__}")
    constants = {name: _constant(name, value) for name, value in arguments.items()}
    call = partial(getattr(client_or_default(client), loss), **constants)
    grad = torch.is_grad_enabled() and input.requires_grad
    return cast(Tensor, _Loss.apply(input, call, grad))  # type: ignore[no-untyped-call]


def _constant(argument: str, value: object) -> object:
    """An argument that no gradient is wanted of."""
    if not isinstance(value, Tensor):
        return value
    if value.requires_grad and torch.is_grad_enabled():
        raise invalid_argument(argument, "expected no gradient to be required of it, since only the input gets one")
    return value.detach()


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, call: Call, grad: bool) -> Tensor:
        # In float16 gradients of a mean over many rows would vanish on their way, before a loss scale can save them.
        widen = grad and input.dtype is torch.float16
        result = call((input.float() if widen else input).detach(), grad=grad)
        if result.grad is not None:
            ctx.save_for_backward(_to_tensor(result.grad).to(input.device))
        return _to_tensor(result.loss).to(input.device, _loss_dtype(input))

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        scaled = _scaled(grad, grad_output)  # which autograd brings to the input's dtype
        if torch.is_grad_enabled():  # as with create_graph=True
            scaled = _OnceDifferentiable.apply(scaled.detach().requires_grad_())  # type: ignore[no-untyped-call]
        return scaled, None, None


class _OnceDifferentiable(torch.autograd.Function):
    """Passes a gradient on, of which there is no further one. Says so in better words than PyTorch's decorator."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> None:  # noqa: ARG004
        raise NotServedError("second derivatives of a loss are not served: use torch.nn.functional where you need them")


def _loss_dtype(input: Tensor) -> torch.dtype:
    """The one that PyTorch's loss has, which autocast computes in float32."""
    if input.dtype in HALVES and torch.is_autocast_enabled(input.device.type):
        return torch.float32
    return input.dtype


def _scaled(grad: Tensor, grad_output: Tensor) -> Tensor:
    """The gradient times that of the loss: a scalar, or one number a row."""
    if grad_output.ndim == 0 and grad_output.device.type == "cpu" and grad_output == 1:
        return grad  # as in loss.backward(): a product of the same numbers would take longer than all the rest
    if 0 < grad_output.ndim < grad.ndim:  # (N, d1, ..., dk), of rows
        grad_output = grad_output.unsqueeze(1)
    return grad * grad_output


def _to_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Without a copy. PyTorch knows nothing of `ml_dtypes`, so the bits of bfloat16 go over as integers."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
