"""Divergences of hidden states of either model, or of both: beside those of their logits in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

import ce_engine
from ce_engine import Engine, Head, InvalidArgumentError, Norm, slabs
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import TOLERANCES
from tests.ce_engine.losses.divergences.examples import KINDS, by_torch, named
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

WIDTH, TARGET_WIDTH, CLASSES = 12, 20, 130
WHICH = ("input", "target", "both")


def head(width: int, seed: int, dtype: torch.dtype = torch.float64, **options: Any) -> Head:
    generator = torch.Generator().manual_seed(seed)
    weight, bias, scale = (torch.randn(n, generator=generator).to(dtype) for n in ((CLASSES * width), CLASSES, width))
    return Head(weight.view(CLASSES, width), bias, norm=Norm("rms", 1e-5, scale), **options)


def logits_of(x: Tensor, of: Head | None) -> Tensor:
    """By PyTorch, from the head's own copies, which are padded with zeros."""
    if of is None:
        return x
    norm, weight = present(of.norm), of.weight.to(x.dtype)[:CLASSES, : x.shape[-1]]
    scale = present(norm.weight).to(x.dtype)[: x.shape[-1]]
    hidden = torch.nn.functional.rms_norm(x, x.shape[-1:], scale, norm.eps)
    y = hidden @ weight.T + present(of.bias).to(x.dtype)[:CLASSES]
    y = y if of.softcap is None else of.softcap * (y / of.softcap).tanh()
    return y / of.temperature


def models(
    which: str, rows: int, dtype: torch.dtype = torch.float64, **options: Any
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    torch.manual_seed(0)
    heads: dict[str, Any] = {}
    x, y = (torch.randn(rows, CLASSES) * 2 for _ in range(2))
    if which != "target":
        x, heads["head"] = torch.randn(rows, WIDTH), head(WIDTH, 1, dtype, **options)
    if which != "input":
        y, heads["target_head"] = torch.randn(rows, TARGET_WIDTH), head(TARGET_WIDTH, 2, dtype, temperature=1.5)
    return x.to(dtype), y.to(dtype), heads


def truth(x: Tensor, y: Tensor, heads: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor]:
    """The losses, and the gradient of their sum, by autograd in float64."""
    leaf = x.double().requires_grad_()
    losses = by_torch(logits_of(leaf, heads.get("head")), logits_of(y.double(), heads.get("target_head")), **options)
    return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]


@pytest.mark.parametrize(
    ("which", "kind", "dtype", "softcap"), pairs(WHICH, KINDS, (torch.float64, torch.float32), (None, 5.0))
)
def test_losses_are_those_of_the_logits(which, kind, dtype, softcap):
    x, y, heads = models(which, 7, dtype, softcap=softcap, temperature=0.8)
    options: dict[str, Any] = {"divergence": kind, "temperature": 2.0}
    result = ce_engine.kl_divergence(x, y, reduction="none", grad=True, **heads, **options)
    losses, grad = truth(x, y, heads, **options)
    tolerance = 20 * TOLERANCES[dtype]  # the product of float32 is rounded too
    torch.testing.assert_close(result.loss.double(), losses, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(present(result.grad).double(), grad, atol=tolerance, rtol=tolerance)
    assert present(result.grad).dtype is dtype


def test_some_classes_are_named_beside_hidden_states():
    x, y, heads = models("input", 5)
    log_p, classes = named(y, 6)
    options: dict[str, Any] = {"target_classes": classes, "tail": "one_bin", "reduction": "none"}
    result = ce_engine.kl_divergence(x, log_p, **heads, **options)
    of_logits = ce_engine.kl_divergence(logits_of(x, heads["head"]), log_p, **options)
    torch.testing.assert_close(result.loss, of_logits.loss, atol=1e-12, rtol=1e-12)


def test_outputs_have_the_heads_classes():
    x, y, heads = models("both", 6)
    labels = torch.tensor([0, 129, -100, 3, 4, 5])
    names = ("lse", "entropy", "log_probabilities", "predictions")
    result = ce_engine.kl_divergence(x, y, temperature=2, labels=labels, outputs=names, grad=True, **heads)
    q, p = (logits_of(*of) for of in ((x, heads["head"]), (y, heads["target_head"])))
    of_logits = ce_engine.kl_divergence(q, p, temperature=2, labels=labels, outputs=names)
    for name in ("loss", "lse", "entropy", "log_probabilities", "changes"):
        torch.testing.assert_close(getattr(result, name), getattr(of_logits, name), atol=1e-12, rtol=1e-12)
    assert torch.equal(present(result.predictions), q.argmax(1))
    assert result.correct_count == of_logits.correct_count
    assert not present(result.grad)[2].any()


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_nan_in_an_ignored_row_is_in_no_gradient(softcap):
    """The norm's and the softcap's derivatives are NaN there, and 0 times them is not 0."""
    x, y, heads = models("input", 4, softcap=softcap)
    x[2] = torch.nan
    result = ce_engine.kl_divergence(x, y, labels=torch.tensor([0, 1, -100, 3]), grad=True, **heads)
    grad = present(result.grad)
    assert not grad[2].any()
    assert grad.isfinite().all()
    assert result.loss.isfinite()


@pytest.mark.parametrize("which", WHICH)
def test_tiles_and_company_change_no_bit(which):
    rows = 300  # more than a tile
    x, y, heads = models(which, rows, torch.float32)
    options: dict[str, Any] = {"reduction": "none", "grad": True, "labels": torch.randint(CLASSES, (rows,)), **heads}
    whole = ce_engine.kl_divergence(x, y, **options)
    with Engine(workers=2) as engine:
        parted = engine.submit(slabs.kl_divergence(x, y, **options)).result(20)
        labels = options.pop("labels")
        parts = [slice(i, i + 3) for i in range(0, 30, 3)]
        few = [slabs.kl_divergence(x[of], y[of], labels=labels[of], **options) for of in parts]
        together = [future.result(20) for future in [engine.submit(slab) for slab in few]]
    for name in ("loss", "grad", "changes"):
        expected = getattr(whole, name)
        assert bits(getattr(parted, name)) == bits(expected)
        assert bits(torch.cat([getattr(result, name) for result in together])) == bits(expected[:30])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": torch.zeros(2, 5)}, r"input: expected shape \(..., 12\), the width of head last, got \(2, 5\)"),
        ({"target": torch.zeros(2, 5)}, r"target: expected shape \(..., 20\), the width of target_head last"),
        (
            {"target": torch.zeros(2, 20).double()},
            "target: expected float32, .* with target_head in float32, got float64",
        ),
        ({"head": "llama"}, "head: expected Head, got str"),
        ({"target": torch.zeros(3, 20)}, r"target: expected logits of the input's shape \(2, 130\), got \(3, 130\)"),
        ({"target_head": Head(torch.zeros(7, 20))}, "target_head: expected a head of 130 classes, as head has, got 7"),
        ({"target_classes": torch.zeros(2, 20).long()}, "target_classes: expected none with target_head"),
    ],
)
def test_wrong_argument_is_named(changes, message):
    heads = {"head": head(WIDTH, 1, torch.float32), "target_head": head(TARGET_WIDTH, 2, torch.float32)}
    right = {"input": torch.zeros(2, WIDTH), "target": torch.zeros(2, TARGET_WIDTH)} | heads
    with pytest.raises(InvalidArgumentError, match=message):
        ce_engine.kl_divergence(**right | changes)


def test_sums_by_class_of_hidden_states_need_labels():
    x, y, heads = models("target", 3)
    slab = slabs.kl_divergence(x, y, **heads)
    slab.exact = "by_class"
    with pytest.raises(InvalidArgumentError, match="labels: expected them for sums by class"):
        ce_engine.evaluate(slab)
