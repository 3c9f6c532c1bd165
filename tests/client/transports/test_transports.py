"""All transports return the same bits."""

import itertools
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest

from losswire_client import Client, InvalidArgumentError, ResourceExhaustedError, Result
from tests.client.request.verdicts import unchecked
from tests.helpers import serving
from tests.pairs import pairs

SLAB_BYTES = 4096  # so that small batches are many slabs
FIELDS = ("loss", "grad", "lse", "entropy", "probabilities", "log_probabilities", "predictions")
REDUCTIONS = ("none", "mean", "sum")
SHAPES = [
    (700,),  # one row, smaller than a slab
    (3000,),  # one row, larger than a slab
    (2500, 3),
    (3, 2500),  # rows larger than a slab
    (1100, 7),
    (50, 5, 4, 3),  # several samples a slab
    (3, 5, 40, 30),  # several slabs a sample
    (1, 3, 70, 50),  # one image
]


@pytest.fixture(scope="module")
def small_slabs() -> Iterator[str]:
    with serving(slab_bytes=SLAB_BYTES) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def unary(small_slabs) -> Iterator[Client]:
    with Client(small_slabs, transport="unary") as client:
        yield client


@pytest.fixture(scope="module")
def stream(small_slabs) -> Iterator[Client]:
    with Client(small_slabs, transport="stream") as client:
        yield client


def assert_same_bits(one: Result, other: Result) -> None:
    for name in FIELDS:
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None and b is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert a.tobytes() == b.tobytes(), name
    for name in ("loss_sum", "weight_sum", "row_count", "ignored_count", "correct_count"):
        np.testing.assert_equal(getattr(one, name), getattr(other, name), name)


def row_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def classes(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    count = shape[1] if len(shape) > 1 else shape[0]
    target = rng.integers(0, count, row_shape(shape))
    return np.where(rng.random(target.shape) < 0.2, -100, target) if target.ndim else target


@pytest.mark.parametrize(("shape", "reduction", "grad"), pairs(SHAPES, REDUCTIONS, (False, True)))
def test_stream_of_classes_has_the_bits(unary, stream, shape, reduction, grad):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal(shape, np.float32), classes(shape, rng)
    options = {"reduction": reduction, "grad": grad, "outputs": ("lse", "entropy", "predictions")}
    if len(shape) > 1:
        options |= {"weight": rng.random(shape[1]), "sample_weight": rng.random(row_shape(shape))}
        if grad and reduction == "none":
            options["grad_output"] = rng.standard_normal(row_shape(shape))
    if grad and reduction != "none":
        options["grad_output"] = 0.5
    want, got = unary.cross_entropy(logits, target, **options), stream.cross_entropy(logits, target, **options)
    assert_same_bits(want, got)


@pytest.mark.parametrize(
    ("weight", "target_dtype", "reduction"),
    pairs((None, "balanced", "complement"), (np.int64, np.int32, np.int16, np.uint8), REDUCTIONS),
)
def test_stream_of_few_classes_sends_targets(unary, stream, weight, target_dtype, reduction):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((9000, 2), np.float32), rng.integers(0, 2, 9000).astype(target_dtype)
    for grad in (False, True):
        options = {"weight": weight, "reduction": reduction, "grad": grad, "ignore_index": 1}
        assert_same_bits(unary.nll_loss(logits, target, **options), stream.nll_loss(logits, target, **options))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_stream_of_probabilities_has_the_bits(unary, stream, shape, dtype):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal(shape).astype(dtype), rng.random(shape, np.float32)
    options = {"grad": True, "label_smoothing": 0.1, "outputs": ("probabilities", "log_probabilities", "entropy")}
    want, got = unary.cross_entropy(logits, target, **options), stream.cross_entropy(logits, target, **options)
    assert_same_bits(want, got)


@pytest.mark.parametrize(
    ("shape", "weight", "reduction"),
    pairs(
        ((), (5000,), (60, 50), (3, 4, 5, 60)), (None, "balanced", "complement", "elements", "broadcast"), REDUCTIONS
    ),
)
def test_stream_of_elements_has_the_bits(unary, stream, shape, weight, reduction):
    rng = np.random.default_rng(0)
    x, target = rng.random(shape, np.float32), np.asarray(rng.random(shape) < 0.3, np.float32)
    if weight == "elements":
        weight = rng.random(shape)
    elif weight == "broadcast":
        weight = rng.random(shape[-1:])
    options = {
        "weight": weight,
        "reduction": reduction,
        "grad": True,
        "outputs": ("predictions", "probabilities", "entropy"),
    }
    assert_same_bits(
        unary.binary_cross_entropy(x, target, **options), stream.binary_cross_entropy(x, target, **options)
    )
    options |= {"pos_weight": rng.random(shape[-1:]), "sample_weight": rng.random(shape)}
    if reduction == "none":
        options["grad_output"] = rng.standard_normal(shape)
    want, got = (c.binary_cross_entropy_with_logits(x, target, **options) for c in (unary, stream))
    assert_same_bits(want, got)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 3, 1, 2),  # channels last in memory
        lambda x: x[:, :, ::2, ::3],
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.asfortranarray(x),
        lambda x: x[..., 0],
        lambda x: x.byteswap().view(x.dtype.newbyteorder()),
    ],
)
def test_stream_of_any_layout_has_the_bits(unary, stream, view):
    rng = np.random.default_rng(0)
    logits = view(rng.standard_normal((4, 20, 30, 12), np.float32))
    target = classes(logits.shape, rng)
    same = np.ascontiguousarray(logits, np.float32)
    want, got = unary.cross_entropy(same, target, grad=True), stream.cross_entropy(logits, target, grad=True)
    assert_same_bits(want, got)
    target = rng.random(logits.shape) < 0.5
    target = target.astype(np.float32)
    want, got = (c.binary_cross_entropy_with_logits(x, target, grad=True) for c, x in ((unary, same), (stream, logits)))
    assert_same_bits(want, got)


@pytest.mark.parametrize("client", ["unary", "stream"])
@pytest.mark.parametrize("wire_dtype", ["bfloat16", "float16"])
def test_wire_dtype_evaluates_rounded_input(request, client, wire_dtype):
    client = request.getfixturevalue(client)
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((500, 20), np.float32), rng.integers(0, 20, 500)
    narrow = client.cross_entropy(logits.astype(wire_dtype), target, grad=True)
    result = client.cross_entropy(logits, target, grad=True, wire_dtype=wire_dtype)
    assert result.loss == narrow.loss
    assert result.grad.dtype == np.float32
    np.testing.assert_array_equal(result.grad, narrow.grad.astype(np.float32))


@pytest.mark.parametrize(
    ("wire_dtype", "message"),
    [
        ("float64", "wire_dtype: expected a dtype narrower than the input's float32, got 'float64'"),
        ("int8", "wire_dtype: expected one of 'float64', 'float32', 'float16', 'bfloat16', got 'int8'"),
    ],
)
def test_wire_dtype_that_is_none_says_so(unary, wire_dtype, message):
    with pytest.raises(InvalidArgumentError, match=message):
        unary.cross_entropy(np.zeros((2, 3), np.float32), [0, 1], wire_dtype=wire_dtype)


def test_stream_errors_count_from_first_row(stream):
    logits, target = np.zeros((5000, 3), np.float32), np.zeros(5000, np.int64)
    target[4321] = 3
    message = r"target: expected classes in \[0, 3\) .*, got 3 at row 4321"
    for grad in (False, True):
        with unchecked(), pytest.raises(InvalidArgumentError, match=message):
            stream.cross_entropy(logits, target, grad=grad)
    probabilities = np.zeros((100, 100), np.float32)
    probabilities[77, 7] = 1.5
    with unchecked(), pytest.raises(InvalidArgumentError, match=r"input: .* in \[0, 1\], got 1.5 at element 7707"):
        stream.binary_cross_entropy(probabilities, probabilities * 0)


def test_row_that_no_message_holds_says_so():
    message = r"a row has 1200000 bytes, but the server takes messages of at most 1048576"
    with (
        serving(max_message_bytes=2**20) as server,
        Client(f"127.0.0.1:{server.port}", transport="stream") as client,
        pytest.raises(ResourceExhaustedError, match=message),
    ):
        client.cross_entropy(np.zeros((2, 300_000), np.float32), [0, 1])


@pytest.mark.parametrize("shape", [(0,), (5, 0), (0, 3), (0, 0), (2, 3, 0), (2, 0, 4), (0, 3, 4)], ids=str)
def test_empty_batch_ends_alike_everywhere(unary, stream, shared, shape):
    input, ignored = np.zeros(shape, np.float32), np.full(row_shape(shape), -100)
    kinds = (
        ("cross_entropy", input),
        ("cross_entropy", ignored),
        ("nll_loss", ignored),
        ("binary_cross_entropy", input),
    )
    for (loss, target), reduction in itertools.product(kinds, ("none", "mean")):
        options = {"reduction": reduction, "grad": True, "outputs": ["predictions", "probabilities"]}
        first, *others = (getattr(client, loss)(input, target, **options) for client in (unary, stream, shared))
        for other in others:
            assert_same_bits(first, other)
