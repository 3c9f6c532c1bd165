"""Derivatives beyond the first gradient equal those of torch.nn.functional, in every way that PyTorch takes them."""

import weakref

import pytest
import torch
from torch.autograd import forward_ad, functional
from torch.nn import functional as F

from losswire_client import NotServedError
from losswire_client.torch.nn import functional as remote
from tests.ce_engine.helpers import HALVES, PROBLEMS, REDUCTIONS, Problem, assert_no_worse, problem

# A warning of PyTorch's forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def loss_of(case, losses, **more):
    """The loss as a function of its input, with an incoming gradient that is not the same for any two rows."""

    def loss(input):
        return getattr(losses, case.loss)(input, case.target, **case.options, **more)

    return loss


def scalar_of(loss):
    def weighted(input):
        rows = loss(input)
        return (rows * torch.linspace(0.5, 2, rows.numel(), dtype=rows.dtype).reshape(rows.shape)).sum()

    return weighted


# Products of gradients in half precision and a direction: a gradient is rounded, and a sum of products may cancel.
SIZE = 2


def direction(x):
    return torch.linspace(-1, SIZE, x.numel(), dtype=x.dtype).reshape(x.shape)


def gradient_penalty(loss, x):
    """Gradients for weights that are trained to have small gradients. They need both derivatives of the loss."""
    weights = torch.full((x.shape[-1],), 0.9, dtype=x.dtype, requires_grad=True)
    value = loss(x * weights)
    (grad,) = torch.autograd.grad(value, weights, create_graph=True)
    return torch.autograd.grad(value + grad.square().sum(), weights)


def third(loss, x):
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf, create_graph=True)
    return torch.autograd.grad(
        (second * direction(x) + leaf).sum(), leaf
    )  # the derivative of a sum that depends on the leaf in any case


def forward_mode(loss, x):
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(loss(forward_ad.make_dual(x, direction(x)))))


OF_SCALARS = {
    "hessian": functional.hessian,
    "hessian, vectorised": lambda loss, x: functional.hessian(loss, x, vectorize=True),
    "hessian, forward over reverse": lambda loss, x: functional.hessian(
        loss, x, vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    "hvp": lambda loss, x: functional.hvp(loss, x, direction(x)),
    "vhp": lambda loss, x: functional.vhp(loss, x, direction(x)),
    "gradient penalty": gradient_penalty,
    "third": third,
    "func.grad": lambda loss, x: torch.func.grad(loss)(x),
    "func.hessian": lambda loss, x: torch.func.hessian(loss)(x),
    "func.grad of grad": lambda loss, x: torch.func.grad(
        lambda y: (torch.func.grad(loss)(y) * direction(x)).square().sum()
    )(x),
}
OF_ANY = {
    "jvp": lambda loss, x: functional.jvp(loss, x, direction(x)),
    "vjp": lambda loss, x: functional.vjp(loss, x, torch.ones_like(loss(x))),
    "jacobian": functional.jacobian,
    "jacobian, vectorised": lambda loss, x: functional.jacobian(loss, x, vectorize=True),
    "jacobian, forward mode": lambda loss, x: functional.jacobian(loss, x, vectorize=True, strategy="forward-mode"),
    "forward mode": forward_mode,
    "func.jvp": lambda loss, x: torch.func.jvp(loss, (x,), (direction(x),)),
    "func.jacrev": lambda loss, x: torch.func.jacrev(loss)(x),
    "func.jacfwd": lambda loss, x: torch.func.jacfwd(loss)(x),
}


def small(kind, dtype=torch.float64):
    return problem(kind, (3, 4, 2) if kind == "cross_entropy" else (3, 2), dtype)


def assert_same(ours, theirs, name=""):
    """Compares ten digits. PyTorch's binary_cross_entropy adds 1e-12 at its poles, and so is not more exact."""
    torch.testing.assert_close(
        ours, theirs, rtol=1e-10, atol=1e-13, equal_nan=True, msg=lambda message: f"{name}: {message}"
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_scalars_derivatives_are_torchs(client, kind, reduction):
    case = small(kind)
    for name, derive in OF_SCALARS.items():
        ours = derive(scalar_of(loss_of(case, remote, reduction=reduction, client=client)), case.input)
        theirs = derive(scalar_of(loss_of(case, F, reduction=reduction)), case.input)
        assert_same(ours, theirs, name)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_jacobians_are_those_of_torch(client, kind, reduction):
    case = small(kind)
    for name, derive in OF_ANY.items():
        ours = derive(loss_of(case, remote, reduction=reduction, client=client), case.input)
        assert_same(ours, derive(loss_of(case, F, reduction=reduction), case.input), name)


# The effect of a reduction on the incoming gradient is the same for all losses. Below, all losses are compared.
@pytest.mark.parametrize(
    ("kind", "reduction"), [*((kind, "none") for kind in PROBLEMS), *zip(PROBLEMS, REDUCTIONS[1:] * 3, strict=True)]
)
def test_derivatives_pass_torchs_checks(client, kind, reduction):
    case = small(kind)
    loss, leaf = loss_of(case, remote, reduction=reduction, client=client), case.input.requires_grad_()
    assert torch.autograd.gradcheck(loss, leaf, check_batched_grad=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, leaf, check_batched_grad=True)


def hessians(case, **more):
    """Hessians of each row's loss times the direction and times ones: ours and PyTorch's."""
    for losses, options in ((remote, more), (F, {name: more[name] for name in more.keys() - {"client"}})):
        loss = scalar_of(loss_of(case, losses, **options))
        yield torch.cat([functional.hvp(loss, case.input, v)[1] for v in (direction(case.input), case.input)])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 1), (2, 5, 3, 2), (0, 5), (2, 5, 0)], ids=str)
def test_second_derivative_of_every_shape(client, shape, reduction):
    for kind in PROBLEMS:
        ours, theirs = hessians(problem(kind, shape), reduction=reduction, client=client)
        assert_same(ours, theirs, kind)


LOGITS = torch.tensor([[1.0, -2, 0.5], [0, 3, 1], [-1, 1, 2]], dtype=torch.float64)
ODD = {
    "all rows ignored": Problem("cross_entropy", LOGITS, torch.full((3,), -100), {}),
    "a class of weight zero": Problem(
        "cross_entropy", LOGITS, torch.tensor([0, 1, 2]), {"weight": torch.tensor([0.0, 1, -2]).double()}
    ),
    "smoothed to the full": Problem("cross_entropy", LOGITS, torch.tensor([0, 1, 2]), {"label_smoothing": 1.0}),
    "ignored, smoothed": Problem(
        "cross_entropy", LOGITS, torch.tensor([0, 1, 2]), {"ignore_index": 1, "label_smoothing": 0.5}
    ),
    "far logits": Problem("cross_entropy", LOGITS * 300, torch.tensor([0, 1, 2]), {}),
    "masked classes": Problem("cross_entropy", LOGITS.clamp(min=0).log(), torch.tensor([0, 1, 2]), {}),
    "probabilities that sum to nothing": Problem("cross_entropy", LOGITS, torch.zeros(3, 3).double(), {}),
    "far binary logits": Problem("binary_cross_entropy_with_logits", LOGITS * 300, LOGITS.sigmoid(), {}),
    "certainty": Problem(
        "binary_cross_entropy", torch.tensor([0.0, 1, 0, 1]).double(), torch.tensor([0.0, 1, 1, 0]).double(), {}
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ODD)
def test_second_derivative_of_odd_numbers(client, name, reduction):
    assert_same(*hessians(ODD[name], reduction=reduction, client=client))


def test_ignored_row_has_no_second_one(client):
    logits = torch.tensor([[torch.nan, 1, 2], [1, 2, 3]], dtype=torch.float64)
    target, v = torch.tensor([-100, 2]), torch.ones(2, 3, dtype=torch.float64)
    product = functional.hvp(lambda x: remote.cross_entropy(x, target, client=client), logits, v)[1]
    assert not product[0].any()
    assert product.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32], ids=str)
def test_second_derivative_of_any_target(client, dtype):
    case = Problem("cross_entropy", LOGITS, torch.tensor([0, 2, 1]), {"reduction": "sum"})
    other = Problem("cross_entropy", LOGITS, case.target.to(dtype), {"reduction": "sum"})
    ours = functional.hessian(loss_of(other, remote, client=client), LOGITS)
    assert_same(ours, functional.hessian(loss_of(case, F), LOGITS))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_halves_have_second_derivatives(client, kind, dtype):
    def product(case, losses, **more):
        return functional.hvp(loss_of(case, losses, reduction="sum", **more), case.input, direction(case.input))[1]

    case = small(kind, dtype)
    ours, theirs = product(case, remote, client=client), product(case, F)
    assert ours.dtype == theirs.dtype == dtype
    assert_no_worse(ours, theirs, product(case.to(torch.float64), F), size=SIZE)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_halves_have_forward_mode(client, kind, dtype):
    case = small(kind, dtype)
    ours = forward_mode(loss_of(case, remote, client=client), case.input)
    theirs = forward_mode(loss_of(case, F), case.input)
    truth = case.to(torch.float64)
    exact = forward_mode(loss_of(truth, F), truth.input)
    assert [x.dtype for x in ours] == [x.dtype for x in theirs] == [dtype] * 2
    assert_no_worse(ours[0], theirs[0], exact[0])
    assert_no_worse(ours[1], theirs[1], exact[1], size=SIZE)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_batched_incoming_is_as_in_torch(client, kind, reduction):
    case = small(kind)

    def grads(losses, **more):
        leaf = case.input.clone().requires_grad_()
        loss = loss_of(case, losses, reduction=reduction, **more)(leaf)
        incoming = torch.stack([torch.ones_like(loss), 2 * torch.ones_like(loss)])
        return torch.autograd.grad(loss, leaf, incoming, is_grads_batched=True)

    assert_same(grads(remote, client=client), grads(F))


def test_any_order_is_one_call(client, server):
    def started():
        (family,) = (family for family in server.registry.collect() if family.name == "grpc_server_started")
        return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))

    leaf, before = LOGITS.clone().requires_grad_(), started()
    (first,) = torch.autograd.grad(
        remote.cross_entropy(leaf, torch.tensor([0, 1, 2]), client=client), leaf, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), leaf, create_graph=True)
    second.square().sum().backward()
    assert started() == before + 1


def test_logits_may_change_afterwards(client):
    leaf = LOGITS.clone().requires_grad_()
    logits = leaf * 1
    loss = remote.cross_entropy(logits, torch.tensor([0, 1, 2]), client=client)
    logits.detach().zero_()
    (grad,) = torch.autograd.grad(loss, leaf)
    assert_same(grad, torch.autograd.grad(F.cross_entropy(leaf, torch.tensor([0, 1, 2])), leaf)[0])


def test_logits_are_freed_afterwards(client):
    leaf = LOGITS.clone().requires_grad_()
    logits = leaf * 1
    loss, kept = remote.cross_entropy(logits, torch.tensor([0, 1, 2]), client=client), weakref.ref(logits)
    del logits
    assert kept() is None
    loss.backward()


def test_functional_call_gets_gradients(client):
    model, target = torch.nn.Linear(3, 4, dtype=torch.float64), torch.tensor([0, 1, 3])

    def grads(losses, **more):
        def loss(parameters):
            return losses.cross_entropy(torch.func.functional_call(model, parameters, (LOGITS,)), target, **more)

        return torch.func.grad(loss)(dict(model.named_parameters()))

    assert_same(grads(remote, client=client), grads(F))


def test_export_is_refused_with_a_way_out(client):
    class Model(torch.nn.Module):
        def forward(self, x):
            return remote.cross_entropy(x, torch.tensor([0, 1, 2]), client=client)

    with pytest.raises(NotServedError, match=r"torch\.export .* export the model that computes the logits"):
        torch.export.export(Model(), (LOGITS,))


def test_vmap_is_refused_with_a_way_out(client):
    with pytest.raises(NotServedError, match=r"vmap.*reduction='none'"):
        torch.vmap(lambda row: remote.cross_entropy(row, torch.tensor(1), client=client))(LOGITS)
    with pytest.raises(NotServedError, match=r"vmap.*reduction='none'"):
        torch.vmap(torch.func.grad(lambda row: remote.cross_entropy(row, torch.tensor(1), client=client)))(LOGITS)
