"""The promises of losswire_client.torch about autograd: one call forward, none backward, and no unwanted gradient."""

import pytest
import torch
from torch.nn import functional as F

from losswire_client import Client, InvalidArgumentError
from losswire_client.torch.nn import functional as remote
from tests.ce_engine.helpers import PROBLEMS, problem


class Recorder(Client):
    """Keeps the results of its losses."""

    def cross_entropy(self, *args, **options):
        self.results = [*getattr(self, "results", []), super().cross_entropy(*args, **options)]
        return self.results[-1]


@pytest.fixture
def recorder(target):
    with Recorder(target, timeout=20) as client:
        yield client


@pytest.fixture
def logits():
    return torch.randn(4, 5, dtype=torch.float64, requires_grad=True)


TARGET = torch.tensor([0, 4, 2, 2])


def started(server):
    """Calls that have reached the server so far."""
    (family,) = (family for family in server.registry.collect() if family.name == "grpc_server_started")
    return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_gradient_passes_gradcheck(client, kind, reduction):
    case = problem(kind, (3, 4, 2) if kind == "cross_entropy" else (2, 3))

    def loss(input):
        return getattr(remote, case.loss)(input, case.target, **case.options, reduction=reduction, client=client)

    assert torch.autograd.gradcheck(loss, case.input.requires_grad_())


def test_any_backward_passes_are_one_call(client, server, logits):
    before = started(server)
    loss = remote.cross_entropy(logits, TARGET, reduction="none", client=client)
    loss.sum().backward(retain_graph=True)
    torch.autograd.grad(loss, logits, torch.rand(4), retain_graph=True)
    loss[2].backward()
    assert started(server) == before + 1


def test_gradients_accumulate(client, logits):
    def accumulated(functional, **options):
        leaf = logits.detach().clone().requires_grad_()
        loss = functional.cross_entropy(leaf, TARGET, **options)
        loss.backward(retain_graph=True)
        (3 * loss).backward()
        functional.cross_entropy(leaf, TARGET.flip(0), reduction="sum", **options).backward()
        return leaf.grad

    torch.testing.assert_close(accumulated(remote, client=client), accumulated(F), rtol=1e-12, atol=1e-15)


def test_taken_gradient_may_be_changed(client, logits):
    loss = remote.cross_entropy(logits, TARGET, client=client)
    loss.backward(retain_graph=True)
    first = logits.grad.clone()
    logits.grad.zero_()
    loss.backward()
    assert torch.equal(logits.grad, first)


def test_changed_saved_gradient_is_noticed(client, logits):
    """PyTorch notices, as its graph still needs the memory."""
    loss = remote.cross_entropy(logits, TARGET, client=client)
    (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
    grad.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_pass_needs_retain_graph(client, logits):
    loss = remote.cross_entropy(logits, TARGET, client=client)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradient_flows_through_the_graph(client, logits):
    ours = torch.autograd.grad(remote.cross_entropy(logits.exp(), TARGET, client=client) ** 2 / 3, logits)
    theirs = torch.autograd.grad(F.cross_entropy(logits.exp(), TARGET) ** 2 / 3, logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_bfloat16_gradient_is_not_copied(recorder):
    logits = torch.randn(4, 5, dtype=torch.bfloat16, requires_grad=True)
    (grad,) = torch.autograd.grad(remote.cross_entropy(logits, TARGET, client=recorder), logits)
    assert grad.data_ptr() == recorder.results[0].grad.ctypes.data


def test_input_without_grad_costs_none(recorder, logits):
    assert not remote.cross_entropy(logits.detach(), TARGET, client=recorder).requires_grad
    with torch.no_grad():
        assert not remote.cross_entropy(logits, TARGET, client=recorder).requires_grad
    with torch.inference_mode():
        assert remote.cross_entropy(logits + 1, TARGET, client=recorder).is_inference()
    assert [result.grad for result in recorder.results] == [None] * 3


def test_other_gradients_are_refused_at_once(client, server, logits):
    before = started(server)
    weight = torch.ones(5, requires_grad=True)
    for call in (
        lambda: remote.cross_entropy(logits, logits.detach().softmax(1).requires_grad_(), client=client),
        lambda: remote.cross_entropy(logits.detach(), TARGET, weight, client=client),
        lambda: remote.nll_loss(logits, TARGET, weight, client=client),
        lambda: remote.binary_cross_entropy(logits.sigmoid(), logits.sigmoid(), client=client),
        lambda: remote.binary_cross_entropy_with_logits(logits, logits.detach(), pos_weight=weight, client=client),
    ):
        with pytest.raises(
            InvalidArgumentError, match=r"^(target|weight|pos_weight): expected a tensor that requires no gradient"
        ):
            call()
    assert started(server) == before


def test_no_grad_takes_any_argument(client, logits):
    """Also a target that requires a gradient, since none is taken."""
    weight = torch.rand(5, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        ours = remote.cross_entropy(logits, TARGET, weight, client=client)
        torch.testing.assert_close(ours, F.cross_entropy(logits, TARGET, weight), rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler looks at .grad
def test_compiled_code_calls_out(client, logits):
    def loss(x, functional, **options):
        return functional.cross_entropy(x * 2, TARGET, **options) + 1

    compiled = torch.compile(loss, backend="eager")
    ours = [torch.autograd.grad(compiled(logits, remote, client=client), logits) for _ in range(2)]
    theirs = torch.autograd.grad(loss(logits, F), logits)
    torch.testing.assert_close(ours, [theirs] * 2, rtol=1e-12, atol=1e-15)


def test_fullgraph_is_refused_by_torch(client, logits):
    compiled = torch.compile(lambda x: remote.cross_entropy(x, TARGET, client=client), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="disable"):
        compiled(logits)
