"""Products with packed bfloat16 weights: errors, bits that hang on the row alone, numbers that are not finite."""

import pytest
import torch

from ce_engine import _libraries
from ce_engine._heads.bfloat16 import PackedWeight, is_available
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import threads

DEPTH, ROUND = (
    512,
    2**22,
)  # products of a row that are added up at once, and numbers, as in native/products/bfloat16.cpp
TILE, PANEL = 6, 64  # rows and columns that are computed at once, likewise
ROUNDING = {1: 2.0**-8, 2: 2.0**-16, 3: 0.0}  # of float32 numbers that are cut into so many parts
SUMS = 2.0**-21  # of the sum of sizes, for adding in float32
LEFT = 2.0**-13  # of a row's largest number, at most: what rounding leaves of any number of a row

needs_instructions = pytest.mark.skipif(not is_available(), reason="this CPU has no AVX512_BF16")


def weight_of(classes, width):
    return torch.randn(classes, width).bfloat16()


def logits(packed, x, classes, **options):
    return packed.logits(x, torch.full((len(x), classes), 7.0), **options)


@needs_instructions
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize(
    ("width", "classes"),
    [(1, 1), (2, PANEL), (7, PANEL + 1), (33, 3 * PANEL - 1), (DEPTH + 1, 130), (2 * DEPTH + 5, 17), (3, 9001)],
)
def test_products_of_float32_are_as_exact_as_their_parts(width, classes, parts):
    weight, x, g = weight_of(classes, width), torch.randn(TILE + 3, width), torch.randn(TILE + 3, classes)
    packed, exact, bound = PackedWeight(weight), weight.double(), ROUNDING[parts] + SUMS
    error = logits(packed, x, classes, parts=parts) - x.double() @ exact.t()
    assert (error.abs() <= bound * (x.double().abs() @ exact.t().abs())).all()
    error = packed.back(g, torch.empty(len(g), width), parts) - g.double() @ exact
    assert (error.abs() <= bound * (g.double().abs() @ exact.abs())).all()


def grad_of(logits):
    """Of the logits: the softmax, less 1 for a class of each row."""
    return torch.softmax(logits, -1) - torch.eye(logits.shape[1])[torch.arange(len(logits)) % logits.shape[1]]


@needs_instructions
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e-12])
@pytest.mark.parametrize(
    ("width", "classes"), [(1, 1), (2, PANEL), (7, PANEL + 1), (130, 2 * DEPTH + 5), (3, 9001), (70, DEPTH - 1)]
)
def test_rounded_gradients_lose_little_of_the_largest_number(width, classes, scale):
    weight, g = weight_of(classes, width), scale * grad_of(4 * torch.randn(2 * TILE + 3, classes))
    exact, largest = weight.double(), g.double().abs().amax(1, keepdim=True)
    error = PackedWeight(weight).back_rounded(g, torch.empty(len(g), width)) - g.double() @ exact
    sums = SUMS * (g.double().abs() @ exact.abs())
    assert (error.abs() <= LEFT * largest * (exact - exact.mean(0)).abs().sum(0) + sums).all()


@needs_instructions
@pytest.mark.parametrize("levels", ["all alike", "alike where weights are", "random"])
def test_rounded_gradients_keep_what_weights_do_not_share(levels):
    classes, width, odd = 8001, 40, torch.arange(8001) % 2
    weight = (0.1 * torch.randn(classes, width) + 3 * torch.randn(2, width)[odd] + 3 * torch.randn(width)).bfloat16()
    logits = {"all alike": 0 * odd, "alike where weights are": 1.0 * odd, "random": torch.randn(9, classes)}[levels]
    g = grad_of(torch.zeros(9, classes) + logits)
    exact, packed = g.double() @ weight.double(), PackedWeight(weight)
    errors = [
        ((result - exact).norm(dim=1) / exact.norm(dim=1)).max()
        for result in (packed.back_rounded(g, torch.empty(9, width)), packed.back(g, torch.empty(9, width), 1))
    ]
    assert errors[0] < 2e-4  # rounding the result to bfloat16 alone gives 2e-3
    assert errors[1] > 3 * errors[0]


@needs_instructions
def test_rounded_rows_have_the_same_bits_in_any_company_and_threads():
    height, classes = 40, 2 * DEPTH + 33
    packed, g = PackedWeight(weight_of(classes, 130)), grad_of(3 * torch.randn(height, classes))
    whole = packed.back_rounded(g, torch.empty(height, 130))
    for count in range(1, height + 1):
        for rows in (slice(0, count), slice(height - count, height)):
            with threads(1 + count % 3):
                assert bits(packed.back_rounded(g[rows], torch.empty(count, 130))) == bits(whole[rows])


@needs_instructions
def test_rounded_gradients_that_are_not_finite_stay_in_their_rows():
    packed, g = PackedWeight(weight_of(100, 33).abs() + 1), grad_of(torch.randn(9, 100))
    before = packed.back_rounded(g, torch.empty(9, 33))
    g[2, 5], g[4, 32], g[7, 0] = torch.nan, torch.inf, -torch.inf
    after = packed.back_rounded(g, torch.empty(9, 33))
    others = [0, 1, 3, 5, 6, 8]
    assert torch.equal(after[others], before[others])
    assert after[2].isnan().all()
    assert (after[4] == torch.inf).all()
    assert (after[7] == -torch.inf).all()


@needs_instructions
@pytest.mark.parametrize("width", [DEPTH - 1, 2 * DEPTH])
def test_bfloat16_rows_are_as_exact_as_float32_ones(width):
    weight, x = weight_of(200, width), torch.randn(20, width).bfloat16()
    error = logits(PackedWeight(weight), x, 200) - x.double() @ weight.double().t()
    assert (error.abs() <= SUMS * (x.double().abs() @ weight.double().t().abs())).all()
    assert bits(logits(PackedWeight(weight), x, 200)) == bits(logits(PackedWeight(weight), x.float(), 200, parts=1))


@needs_instructions
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_rows_have_the_same_bits_in_any_company(parts):
    height = 70  # more than ten tiles
    packed, x = PackedWeight(weight_of(130, DEPTH + 31)), torch.randn(height, DEPTH + 31)
    whole = logits(packed, x, 130, parts=parts)
    for count in range(1, height + 1):
        assert torch.equal(logits(packed, x[:count], 130, parts=parts), whole[:count])
        assert torch.equal(logits(packed, x[-count:], 130, parts=parts), whole[-count:])


@pytest.mark.slow
@needs_instructions
def test_many_rows_of_many_classes_are_as_exact_and_have_the_same_bits():
    rows, classes = 300, 20_001
    assert rows * classes > ROUND
    weight, g = weight_of(classes, 3), torch.randn(rows, classes)
    packed = PackedWeight(weight)
    result = packed.back(g, torch.empty(rows, 3))
    error = result - g.double() @ weight.double()
    assert (error.abs() <= SUMS * (g.double().abs() @ weight.double().abs())).all()
    assert torch.equal(packed.back(g[7:9], torch.empty(2, 3)), result[7:9])


@needs_instructions
@pytest.mark.parametrize("classes", [PANEL, 5 * PANEL + 1])  # few panels are cut into groups of rows, by threads
def test_any_number_of_threads_gives_the_same_bits(classes):
    weight, x, g = weight_of(classes, 2 * DEPTH), torch.randn(50, 2 * DEPTH), torch.randn(50, classes)
    packed, results = PackedWeight(weight), []
    for count in (1, 2, 3, 7):
        with threads(count):
            results.append(bits(logits(packed, x, classes)) + bits(packed.back(g, torch.empty(50, 2 * DEPTH))))
    assert all(other == results[0] for other in results[1:])


@needs_instructions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_stays_in_its_rows(dtype):
    packed, x = PackedWeight(weight_of(100, 33).abs() + 1), torch.randn(9, 33).to(dtype)
    before = logits(packed, x, 100)
    x[2, 5], x[4, 32], x[7, 0] = torch.nan, torch.inf, -torch.inf
    after = logits(packed, x, 100)
    others = [0, 1, 3, 5, 6, 8]
    assert torch.equal(after[others], before[others])
    assert after[2].isnan().all()
    assert (after[4] == torch.inf).all()
    assert (after[7] == -torch.inf).all()


@needs_instructions
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_largest_numbers_are_not_rounded_to_infinity(parts):
    x, weight = torch.tensor([[1.0], [-1.0]]) * torch.finfo(torch.float32).max, torch.full((3, 1), 0.5)
    result, expected = logits(PackedWeight(weight.bfloat16()), x, 3, parts=parts), x @ weight.t()
    torch.testing.assert_close(result, expected, rtol=2**-7 if parts == 1 else 2**-15, atol=0)


@needs_instructions
def test_result_leaves_the_memory_beside_it():
    memory, weight, x = torch.full((8, 90), 3.0), weight_of(70, 40), torch.randn(8, 40)
    PackedWeight(weight).logits(x, memory[:, :70])
    assert torch.equal(memory[:, :70], logits(PackedWeight(weight), x, 70))
    assert (memory[:, 70:] == 3).all()


@needs_instructions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_in_any_layout_are_read_as_they_are(dtype):
    packed, x = PackedWeight(weight_of(70, 40)), torch.randn(8, 40).to(dtype)
    expected = logits(packed, x, 70)
    assert torch.equal(logits(packed, x.t().contiguous().t(), 70), expected)
    assert torch.equal(logits(packed, torch._neg_view(-x), 70), expected)


@needs_instructions
def test_no_rows_have_no_logits():
    assert logits(PackedWeight(weight_of(70, 40)), torch.empty(0, 40), 70).shape == (0, 70)


@needs_instructions
def test_weight_is_packed_twice_up_to_whole_panels():
    assert PackedWeight(weight_of(PANEL + 1, 2 * PANEL)).nbytes == (
        2 * (2 * PANEL * 2 * PANEL + (PANEL + 2) * 2 * PANEL) + 4 * 2 * PANEL
    )


@needs_instructions
@pytest.mark.parametrize(("classes", "width"), [(1, 1), (PANEL, 64), (2 * PANEL + 5, 33)])
def test_weight_can_be_unpacked(classes, width):
    weight = weight_of(classes, width)
    assert torch.equal(PackedWeight(weight).unpacked(), weight)
    assert torch.equal(PackedWeight(weight.t().contiguous().t()).unpacked(), weight)


@pytest.mark.parametrize("name", [None, *(name for name in _libraries.runnable() if name != "avx512")])
def test_other_libraries_have_no_products(name):
    with _libraries.using(name):
        assert not is_available()
        with pytest.raises(RuntimeError, match="no instructions for bfloat16"):
            PackedWeight(weight_of(3, 4))


def test_other_cpus_have_no_products(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert _libraries._load_products() is None


def test_products_that_were_not_compiled_are_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(_libraries, "FOLDER", tmp_path)
    assert _libraries._load_products() is None


def test_broken_products_are_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(_libraries, "FOLDER", tmp_path)
    _libraries._path("bfloat16").write_text("for another machine")
    with pytest.warns(UserWarning, match="slower operators are used"):
        assert _libraries._load_products() is None
