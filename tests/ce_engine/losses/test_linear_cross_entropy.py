"""Cross-entropy of hidden states, against PyTorch's own, autograd and the reference twin."""

from itertools import product
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import Head, Norm, reference
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import REDUCTIONS, TOLERANCES, assert_close, assert_no_worse
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

WIDTH, CLASSES = 33, 70  # neither is a multiple of 64


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def classes(*shape: int, count: int = CLASSES) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(sum(shape)))


class Layer:
    """A head's tensors, for us and for PyTorch."""

    def __init__(
        self,
        dtype: torch.dtype = torch.float64,
        *,
        count: int = CLASSES,
        width: int = WIDTH,
        norm: Literal["rms", "layer"] | None = None,
        softcap: float | None = None,
        temperature: float = 1.0,
        bias: bool = True,
    ) -> None:
        self.weight = random(count, width, dtype=dtype)
        self.bias = random(count, dtype=dtype) if bias else None
        self.norm, self.softcap, self.temperature = norm, softcap, temperature
        self.factor, self.shift = random(width, dtype=dtype) + 1, random(width, dtype=dtype, seed=1)

    def head(self) -> Head:
        norm = None
        if self.norm is not None:
            norm = Norm(self.norm, 1e-5, self.factor, self.shift if self.norm == "layer" else None)
        return Head(self.weight, self.bias, norm=norm, softcap=self.softcap, temperature=self.temperature)

    def logits(self, x: Tensor) -> Tensor:
        if self.norm == "rms":
            x = F.rms_norm(x, x.shape[-1:], self.factor, 1e-5)
        if self.norm == "layer":
            x = F.layer_norm(x, x.shape[-1:], self.factor, self.shift, 1e-5)
        y = F.linear(x, self.weight, self.bias)
        return (y if self.softcap is None else self.softcap * torch.tanh(y / self.softcap)) / self.temperature

    def theirs(
        self, x: Tensor, target: Tensor, grad_output: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        leaf = x.detach().clone().requires_grad_()
        target = target.movedim(-1, 1) if target.is_floating_point() and target.dim() > 2 else target
        logits = self.logits(leaf)
        loss = F.cross_entropy(logits.movedim(-1, 1) if logits.dim() > 2 else logits, target, **options)
        (grad,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss) if grad_output is None else grad_output)
        return loss.detach(), grad


LAYERS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"softcap": 3.0},
    {"temperature": 0.7},
    {"norm": "rms", "softcap": 3.0, "temperature": 1.7},
    {"norm": "layer", "temperature": 1.7},
]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["classes", "smoothed", "probabilities"])
def test_agrees_with_autograd_and_twin(layer, reduction, kind):
    layer, x = Layer(**layer), random(3, 7, WIDTH)
    target = random(3, 7, CLASSES).softmax(-1) if kind == "probabilities" else classes(3, 7)
    if kind != "probabilities":
        target[1, 2] = -100
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "reduction": reduction}
    options["label_smoothing"] = 0.0 if kind == "classes" else 0.2
    grad_output = random(3, 7) if reduction == "none" else random(1)[0]
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True, grad_output=grad_output, **options)
    loss, grad = layer.theirs(x, target, grad_output, **options)
    assert_close(ours, loss, grad, 1e-12)
    twin = reference.linear_cross_entropy(x, layer.head(), target, grad_output=grad_output, **options)
    assert_close(ours, twin.loss, twin.grad, 1e-12)
    assert ours.loss_sum == pytest.approx(twin.loss_sum, rel=1e-12)
    assert ours.weight_sum == pytest.approx(twin.weight_sum, rel=1e-12)
    assert (ours.row_count, ours.ignored_count) == (twin.row_count, twin.ignored_count)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 2), (0,), (2, 0)])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_takes_rows_of_any_shape(shape, dtype):
    layer, x, target = Layer(dtype, norm="rms"), random(*shape, WIDTH, dtype=dtype), classes(*shape)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True, outputs=("lse",))
    assert_close(ours, *layer.theirs(x, target, reduction="none"), 20 * TOLERANCES[dtype])
    assert present(ours.lse).shape == shape


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_agrees_with_linear_cross_entropy_of_torch(bias, reduction):
    layer, x, target = Layer(bias=bias), random(9, WIDTH).requires_grad_(), classes(9)
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "reduction": reduction, "label_smoothing": 0.1}
    theirs = F.linear_cross_entropy(x, layer.weight, target, linear_bias=layer.bias, **options)
    (grad,) = torch.autograd.grad(theirs.sum(), x)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True, **options)
    assert_close(ours, theirs.detach(), grad, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", LAYERS)
def test_is_no_worse_than_torch(layer, dtype):
    given, x, target = Layer(dtype, **layer), random(40, WIDTH, dtype=dtype), classes(40)
    precise = Layer(**layer)
    for name in ("weight", "bias", "factor", "shift"):
        tensor = getattr(given, name)
        setattr(precise, name, None if tensor is None else tensor.double())
    ours = ce_engine.linear_cross_entropy(x, given.head(), target, grad=True)
    truth = precise.theirs(x.double(), target)
    theirs = given.theirs(x, target)
    assert_no_worse(ours.loss, theirs[0], truth[0], size=2 * truth[0])
    assert_no_worse(ours.grad, theirs[1], truth[1], size=4 * truth[1].abs().max())


def test_gradient_is_that_of_the_loss():
    layer = Layer(norm="layer", softcap=2.0, temperature=1.3, count=7, width=5)
    head, target = layer.head(), classes(6, count=7)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            result = ce_engine.linear_cross_entropy(x, head, target, grad=True)
            context.save_for_backward(result.grad)
            return result.loss

        @staticmethod
        def backward(context: Any, *incoming: Tensor) -> Tensor:
            (grad,) = context.saved_tensors
            return torch.mul(grad, incoming[0])

    assert torch.autograd.gradcheck(Loss.apply, random(6, 5).requires_grad_())


@pytest.mark.parametrize("kind", ["classes", "smoothed", "probabilities"])
@pytest.mark.parametrize("layer", [{}, {"norm": "rms", "softcap": 3.0, "temperature": 1.7}])
def test_z_loss_divisor_and_places_agree_with_the_twin(layer, kind):
    head, x, target = Layer(**layer).head(), random(3, 7, WIDTH), classes(3, 7)
    target[1, 2] = -100
    options: dict[str, Any] = {"z_loss": 0.01, "divisor": 5.0, "top_k": 3, "weight": random(CLASSES).abs()}
    options["sample_weight"] = random(3, 7).abs()
    outputs: tuple[str, ...] = ("target_log_probabilities", "target_ranks", "probabilities")
    if kind == "smoothed":
        options["label_smoothing"] = 0.2
    if kind == "probabilities":
        target, outputs = random(3, 7, CLASSES).softmax(-1), ("probabilities",)
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True, outputs=outputs, **options)
    twin = reference.linear_cross_entropy(x, head, target, **options)
    assert_close(ours, twin.loss, twin.grad, 1e-12)
    assert ours.z_loss_sum == pytest.approx(present(twin.z_loss_sum), rel=1e-12)
    assert torch.equal(present(ours.top_classes), present(twin.top_classes))
    torch.testing.assert_close(ours.top_log_probabilities, twin.top_log_probabilities, rtol=1e-12, atol=1e-12)
    if kind != "probabilities":
        assert torch.equal(present(ours.target_ranks), present(twin.target_ranks))
        places = ours.target_log_probabilities, twin.target_log_probabilities
        torch.testing.assert_close(*places, rtol=1e-12, atol=1e-12)


def test_outputs_are_those_of_the_logits():
    layer, x, target = Layer(softcap=3.0), random(2, 9, WIDTH), classes(2, 9)
    outputs = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, outputs=outputs, grad=True)
    logits = layer.logits(x)
    for name, truth in {
        "lse": logits.logsumexp(-1),
        "probabilities": logits.softmax(-1),
        "log_probabilities": logits.log_softmax(-1),
        "entropy": torch.distributions.Categorical(logits=logits).entropy(),
    }.items():
        torch.testing.assert_close(getattr(ours, name), truth, atol=1e-12, rtol=1e-12)
    assert torch.equal(present(ours.predictions), logits.argmax(-1))
    assert ours.correct_count == int((logits.argmax(-1) == target).sum())


@pytest.mark.parametrize(("count", "width"), [(1, 1), (1, 5), (5, 1), (64, 64), (262144, 2)])
def test_heads_of_any_size_agree_with_torch(count, width):
    layer, x, target = Layer(count=count, width=width), random(70, width), classes(70, count=count)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 1e-12)


def test_all_rows_ignored():
    x, target = random(3, WIDTH), torch.full((3,), -100)
    ours = ce_engine.linear_cross_entropy(x, Layer().head(), target, grad=True)
    assert ours.loss.isnan()
    assert (ours.row_count, ours.ignored_count) == (0, 3)
    assert not present(ours.grad).any()


def test_nan_stays_in_its_row():
    layer, x, target = Layer(norm="rms"), random(5, WIDTH), classes(5)
    clean = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True)
    x[2, 3] = torch.nan
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True)
    others = [0, 1, 3, 4]
    assert ours.loss[2].isnan()
    assert present(ours.grad)[2].isnan().all()
    assert torch.equal(ours.loss[others], clean.loss[others])
    assert torch.equal(present(ours.grad)[others], present(clean.grad)[others])


@pytest.mark.parametrize("layer", LAYERS)
def test_nan_in_an_ignored_row_is_in_no_gradient(layer):
    x, target = random(5, WIDTH), classes(5)
    x[2, 3], target[2] = torch.nan, -100
    ours = ce_engine.linear_cross_entropy(x, Layer(**layer).head(), target, reduction="none", grad=True)
    assert ours.loss[2] == 0
    assert not present(ours.grad)[2].any()
    assert present(ours.grad).isfinite().all()


def test_classes_with_a_bias_of_minus_infinity_are_impossible():
    layer, x, target = Layer(), random(5, WIDTH), classes(5, count=10)
    present(layer.bias)[10:] = -torch.inf
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("count", "width"), [(70, 33), (3, 1025), (1025, 1025), (1000, 128), (1, 1)])
def test_bits_of_a_row_depend_on_nothing_else(count, width, dtype):
    # Libraries for products take other paths for few rows and for odd sizes: see _heads/padding.py.
    layer = Layer(dtype, count=count, width=width, norm="rms", softcap=5.0)
    head, x, target = layer.head(), random(300, width, dtype=dtype), classes(300, count=count)

    def results(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        result = ce_engine.linear_cross_entropy(
            x[rows], head, target[rows], reduction="none", grad=True, outputs=("lse",)
        )
        return result.loss, present(result.grad), present(result.lse)

    whole = results(slice(0, 300))
    for start, end in [(0, 1), (5, 7), (17, 20), (250, 270), (299, 300), (3, 260)]:
        for ours, theirs in zip(results(slice(start, end)), whole, strict=True):
            assert bits(ours) == bits(theirs[start:end])


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_slab_by_slab_has_the_bits_of_one_slab(kind):
    head, x = Layer(torch.float32).head(), random(40, WIDTH, dtype=torch.float32)
    target = classes(40) if kind == "classes" else random(40, CLASSES, dtype=torch.float32).softmax(-1)
    whole = ce_engine.linear_cross_entropy(x, head, target, grad=True)
    batch = ce_engine.SlabBySlab(
        ce_engine.slabs.linear_cross_entropy, reduction="mean", weight_sum=40.0, grad=True, head=head
    )
    grads = []
    for rows in (slice(0, 7), slice(7, 40)):
        planned = batch.plan(x[rows], target[rows])
        results: Any = ce_engine.evaluate(planned)
        batch.add(planned.reduction, results)
        grads.append(results.grad)
    assert bits(batch.loss()) == bits(whole.loss_sum / 40)
    assert bits(torch.cat(grads)) == bits(whole.grad)


def test_planned_slab_by_slab_has_the_bits_of_one_slab():
    head, x, target = Layer(torch.float32).head(), random(8, 5, WIDTH, dtype=torch.float32), classes(8, 5)
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "grad": True}
    whole = ce_engine.linear_cross_entropy(x, head, target, **options)
    batch = ce_engine.PlannedSlabBySlab(ce_engine.slabs.linear_cross_entropy(x, head, target, **options))
    grads = []
    for part in x.split([3, 5]):
        planned = batch.plan(part)
        results: Any = ce_engine.evaluate(planned)
        batch.add(planned.reduction, results)
        grads.append(results.grad)
    assert bits(batch.loss()) == bits(whole.loss_sum / whole.weight_sum)
    assert bits(torch.cat(grads)) == bits(whole.grad)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_stacked_requests_have_the_bits_of_each_alone(shape):
    head, x, target = Layer(torch.float32).head(), random(*shape, WIDTH, dtype=torch.float32), classes(*shape)
    options: dict[str, Any] = {"head": head, "grad": True, "outputs": ("probabilities",)}
    stacked = ce_engine.evaluate_stacked(ce_engine.slabs.linear_cross_entropy, x, target, **options)
    for i in range(4):
        alone = ce_engine.linear_cross_entropy(x[i], target=target[i], **options)
        assert bits(stacked[i].loss) == bits(alone.loss)
        assert bits(stacked[i].grad) == bits(alone.grad)
        assert bits(stacked[i].probabilities) == bits(alone.probabilities)


def test_exact_sums_by_class_are_of_the_target_classes():
    head, x = Layer().head(), random(30, WIDTH)
    for target in (classes(30, count=3), F.one_hot(classes(30, count=3), CLASSES).double()):
        slab = ce_engine.slabs.linear_cross_entropy(x, head, target)
        slab.exact = "by_class"
        result = ce_engine.evaluate(slab)
        by_class = present(result.exact_by_class)
        assert {c: sums.row_count for c, sums in by_class.items()} == {
            c: int((classes(30, count=3) == c).sum()) for c in range(3)
        }
        assert float(present(result.exact).loss) == pytest.approx(result.loss_sum, rel=1e-12)


def test_gradient_is_written_into_memory_of_the_caller():
    head, x, target = Layer().head(), random(5, WIDTH), classes(5)
    memory = torch.empty(5, WIDTH, dtype=torch.float64)
    result = ce_engine.evaluate(ce_engine.slabs.linear_cross_entropy(x, head, target, grad=True), grad_into=memory)
    assert result.grad is memory
    assert torch.equal(memory, present(ce_engine.linear_cross_entropy(x, head, target, grad=True).grad))


@pytest.mark.parametrize("grad_dtype", [torch.float32, torch.bfloat16])
def test_gradient_has_the_wanted_dtype(grad_dtype):
    head, x, target = Layer(torch.bfloat16).head(), random(5, WIDTH, dtype=torch.bfloat16), classes(5)
    wide = ce_engine.linear_cross_entropy(x, head, target, grad=True, grad_dtype=torch.float32)
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True, grad_dtype=grad_dtype)
    assert torch.equal(present(ours.grad), present(wide.grad).to(grad_dtype))


WRONG = [
    ({"head": torch.ones(2, 2)}, "head: expected Head, got Tensor"),
    ({"input": random(2, 5)}, r"input: expected shape \(..., 33\), the head's width last, got \(2, 5\)"),
    ({"input": random(2, WIDTH).float()}, "input: expected float64 with a head in float64, got float32"),
    ({"target": classes(3)}, r"target: expected shape \(2,\), one class index .* got \(3,\)"),
    ({"target": random(2, 5)}, r"target: expected probabilities of shape \(2, 70\), or class indices of \(2,\)"),
    ({"target": torch.tensor([1, CLASSES])}, r"target: expected classes in \[0, 70\) .* got 70 at row 1"),
    ({"weight": random(5)}, r"weight: expected shape \(70,\), one number a class, got \(5,\)"),
    ({"z_loss": -1.0}, "z_loss: expected a finite number of at least 0, got -1.0"),
    ({"top_k": CLASSES + 1}, "top_k: expected at most the number of classes, 70, got 71"),
    ({"label_smoothing": 2.0}, r"label_smoothing: expected a number in \[0, 1\], got 2.0"),
    ({"sample_weight": random(3)}, r"sample_weight: expected the loss's shape \(2,\), got \(3,\)"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_arguments_are_named(wrong, message):
    arguments: dict[str, Any] = {"input": random(2, WIDTH), "head": Layer().head(), "target": classes(2)} | wrong
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        ce_engine.linear_cross_entropy(**arguments)


def test_weighting_by_the_targets():
    layer, x, target = Layer(), random(20, WIDTH), classes(20, count=3)
    counts = target.bincount(minlength=CLASSES).double()
    balanced = torch.where(counts > 0, 20 / (CLASSES * counts), 0.0)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, "balanced", grad=True)
    assert_close(ours, *layer.theirs(x, target, weight=balanced), 1e-12)


@pytest.mark.parametrize(("norm", "dtype"), list(product(["rms", "layer"], TOLERANCES)))
def test_norm_without_tensors(norm, dtype):
    layer, x, target = Layer(dtype, norm=norm), random(4, WIDTH, dtype=dtype), classes(4)
    layer.factor, layer.shift = torch.ones(WIDTH, dtype=dtype), torch.zeros(WIDTH, dtype=dtype)
    head = Head(layer.weight, layer.bias, norm=Norm(norm, 1e-5))
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 20 * TOLERANCES[dtype])
