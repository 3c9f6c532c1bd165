"""A loss and its gradient from one call in the forward pass. Derivatives make no further call."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd import forward_ad

from losswire.losses import HEADS, LOSSES
from losswire_client import Client, InvalidArgumentError, NotServedError, Result
from losswire_client._errors import invalid_argument
from losswire_client.torch._clients import client_or_default
from losswire_client.torch._curvature import KNOWN, NEEDS_INPUT, Arguments, class_dimension, hessian_product
from losswire_client.torch._errors import TorchArgumentError
from losswire_client.torch._heads import to_head

REQUIRED = {"linear_cross_entropy": "head"}  # what may not be None
HALVES = (torch.float16, torch.bfloat16)


def evaluate(
    name: str, input: Tensor, constants: Mapping[str, Tensor | None], *, client: Client | None, **options: Any
) -> Tensor:
    """One of the client's losses as a tensor that autograd can differentiate any number of times.

    Args:
        name: Of the loss.
        input: The only argument that gets a gradient.
        constants: The other tensors by the names of their arguments, with ``target``.
        client: The client; the process's default client if None.
        **options: All other arguments; None is left out.
    """
    evaluated = _evaluate
    if torch.compiler.is_exporting():
        raise NotServedError("torch.export of a loss is not served: export the model that computes the logits")
    if torch.compiler.is_compiling():  # a decorator would import the compiler in programs that compile nothing
        evaluated = torch.compiler.disable(_evaluate)  # type: ignore[no-untyped-call]
    return evaluated(name, input, constants, client, options)


def _evaluate(
    name: str, input: Tensor, constants: Mapping[str, Tensor | None], client: Client | None, options: dict[str, Any]
) -> Tensor:
    needed = REQUIRED.get(name)
    options = {argument: value for argument, value in options.items() if value is not None or argument == needed}
    with _errors_of_torch():
        if not isinstance(input, Tensor):
            raise invalid_argument("input", f"expected a tensor, got a {type(input).__name__}")
        checked = [_constant(argument, value) for argument, value in constants.items()]
        for argument in options.keys() & HEADS:
            options[argument] = to_head(argument, options[argument])
        call = _Call(name, client_or_default(client), tuple(constants), options)
        loss, _ = _Loss.apply(input, call, _is_gradient_wanted(input), *checked)  # type: ignore[no-untyped-call]
    return cast(Tensor, loss)


@contextmanager
def _errors_of_torch() -> Iterator[None]:
    try:
        yield
    except InvalidArgumentError as error:
        raise TorchArgumentError.of(error) from error


def _constant(argument: str, value: Tensor | None) -> Tensor | None:
    """The argument, detached, after a check that it needs no gradient; None if there is none."""
    if value is None and argument != "target":
        return None
    if not isinstance(value, Tensor):
        raise invalid_argument(argument, f"expected a tensor, got a {type(value).__name__}")
    if value.requires_grad and torch.is_grad_enabled():
        raise invalid_argument(argument, "expected a tensor that requires no gradient, since only the input gets one")
    return value.detach()


def _is_gradient_wanted(input: Tensor) -> bool:
    """Whether a backward pass may follow, or a forward derivative is taken now."""
    if torch.is_grad_enabled() and input.requires_grad:
        return True
    return forward_ad.unpack_dual(input).tangent is not None  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Call:
    """A loss of a client with its options, to be called with tensors.

    Attributes:
        loss: Its name.
        client: The client.
        names: Arguments that are tensors, but for the input.
        options: All other arguments.
    """

    loss: str
    client: Client
    names: tuple[str, ...]
    options: dict[str, Any]

    def __call__(self, input: Tensor, constants: Sequence[Tensor | None], *, grad: bool) -> Result:
        given = {name: value for name, value in self.named(constants).items() if value is not None}
        return cast(Result, getattr(self.client, self.loss)(input, **given, **self.options, grad=grad))

    def named(self, constants: Sequence[Tensor | None]) -> dict[str, Tensor | None]:
        return dict(zip(self.names, constants, strict=True))


class _Loss(torch.autograd.Function):
    """The loss and, as a second output, its gradient for an incoming gradient of one.

    Since the gradient is an output, autograd knows that it depends on the input. A second derivative then comes to
    `backward` as the gradient of that output, and the closed forms of `_curvature` compute it.
    """

    @staticmethod
    def forward(input: Tensor, call: _Call, grad: bool, *constants: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # In float16 gradients of a mean over many rows would vanish on their way, before a loss scale could save them.
        widen = grad and input.dtype is torch.float16
        result = call((input.float() if widen else input).detach(), constants, grad=grad)
        loss = _to_tensor(result.loss).to(input.device, _loss_dtype(input))
        return loss, None if result.grad is None else _to_tensor(result.grad).to(input.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor | None]) -> None:
        logits, ctx.call, _, *constants = inputs
        loss, gradient = output
        ctx.loss_dtype = loss.dtype
        ctx.set_materialize_grads(False)
        if gradient is not None:
            # The same memory twice: the output, which has derivatives, and its detached numbers, which `backward` may
            # return.
            saved = gradient, gradient.detach(), logits if ctx.call.loss in NEEDS_INPUT else None, *constants
            ctx.save_for_backward(*saved)
            ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor | None, of_gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, numbers, *tensors = ctx.saved_tensors
        found = None
        if of_loss is not None:
            rows = _row_dimension(ctx.call.loss)
            found = _times(gradient, of_loss, rows) if torch.is_grad_enabled() else _scaled(numbers, of_loss, rows)
        if of_gradient is not None:  # a second derivative, for example through a gradient made by create_graph=True
            curved = hessian_product(ctx.call.loss, gradient, of_gradient, _arguments(ctx, tensors))
            found = curved if found is None else found + curved
        return found, None, None, *[None] * len(ctx.call.names)  # autograd casts it to the input's dtype

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, Tensor]:
        gradient, _numbers, *tensors = ctx.saved_tensors
        change = gradient * tangent
        if ctx.call.options["reduction"] != "none":
            change = change.sum()
        elif not LOSSES[ctx.call.loss].elementwise:  # losses whose classes are last have no such derivative
            change = change.sum(class_dimension(change))
        return change.to(ctx.loss_dtype), hessian_product(ctx.call.loss, gradient, tangent, _arguments(ctx, tensors))

    @staticmethod
    def vmap(*_: Any) -> NoReturn:
        raise NotServedError(
            "torch.vmap over a loss is not served: give the rows of all samples in one batch, with reduction='none'"
        )


# PyTorch asks for the signature with every call, and inspect takes as long for it as all the rest of this code.
_Loss.forward.__signature__ = inspect.signature(_Loss.forward)  # type: ignore[attr-defined]


def _arguments(ctx: Any, tensors: list[Any]) -> Arguments:
    logits, *constants = tensors
    told = {**ctx.call.named(constants), **ctx.call.options}
    return Arguments(logits, **{name: value for name, value in told.items() if name in KNOWN})


def _loss_dtype(input: Tensor) -> torch.dtype:
    """The dtype of PyTorch's loss, which autocast computes in float32."""
    if input.dtype in HALVES and torch.is_autocast_enabled(input.device.type):
        return torch.float32
    return input.dtype


def _scaled(grad: Tensor, grad_output: Tensor, rows: int) -> Tensor:
    """The gradient times the incoming gradient, which is a scalar or has one number for each row."""
    if grad_output.ndim == 0 and grad_output.device.type == "cpu" and _is_one(grad_output):
        return grad  # loss.backward() comes here: a multiplication by 1 would take longer than all the rest
    return _times(grad, grad_output, rows)


def _is_one(scalar: Tensor) -> bool:
    try:
        return bool(scalar == 1)
    except RuntimeError:  # vmap hides the numbers of its tensors
        return False


def _times(grad: Tensor, grad_output: Tensor, rows: int) -> Tensor:
    if 0 < grad_output.ndim < grad.ndim:  # one number for each row, whose classes are in that dimension
        grad_output = grad_output.unsqueeze(rows)
    return grad * grad_output


def _row_dimension(loss: str) -> int:
    """The dimension of the input along which a row lies, if there are several rows."""
    return -1 if LOSSES[loss].classes_last else 1


def _to_tensor(array: npt.NDArray[Any]) -> Tensor:
    """The array as a tensor, without a copy. PyTorch does not know `ml_dtypes`, so bfloat16 passes as integers."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
