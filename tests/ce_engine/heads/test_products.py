"""Compiled products with a head's weight: errors, and bits that hang on the row alone."""

import pytest
import torch
from torch import Tensor

import ce_engine
from ce_engine import Head, Norm, _libraries
from ce_engine._heads.products import product, product_back, product_rows
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import threads
from tests.present import present

COMPILED = [name for name in _libraries.runnable() if name != "baseline"]
TILE, DEPTH, STRIP = 6, 256, 1024  # as in native/products
SUMS = {torch.float32: 2.0**-20, torch.float64: 2.0**-49}  # of the sum of sizes

pytestmark = pytest.mark.skipif(not COMPILED, reason="products are compiled for AVX2 and AVX-512")


@pytest.fixture(params=COMPILED)
def compiled(request):
    with _libraries.using(request.param):
        yield


def both(head: Head, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Of padded rows, the logits of x and the way back of g."""
    return product(x, head, x.dtype), product_back(g, head, g.dtype)


def given(classes: int, width: int, rows: int, dtype: torch.dtype) -> tuple[Head, Tensor, Tensor]:
    head = Head(torch.randn(classes, width, dtype=dtype))
    return head, torch.randn(rows, width, dtype=dtype), torch.randn(rows, classes, dtype=dtype)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, TILE, TILE + 1, 20])
@pytest.mark.parametrize(("classes", "width"), [(64, 64), (DEPTH + 64, STRIP + 64), (STRIP + 64, DEPTH + 64)])
def test_products_are_exact_but_for_sums(classes, width, rows, dtype):
    head, x, g = given(classes, width, rows, dtype)
    exact = head.weight.double() if dtype is torch.float32 else head.weight
    for result, y, matrix in zip(both(head, x, g), (x, g), (exact.t(), exact), strict=True):
        error, size = result.double() - y.double() @ matrix, y.double().abs() @ matrix.abs()
        assert (error.abs() <= SUMS[dtype] * size).all()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_have_the_same_bits_in_any_company_and_threads(dtype):
    rows = 3 * TILE + 1
    head, x, g = given(128, DEPTH + 64, rows, dtype)
    whole = both(head, x, g)
    for count in range(1, rows + 1):
        with threads(1 + count % 3):
            for rows_taken in (slice(count), slice(rows - count, rows)):
                parts = both(head, x[rows_taken], g[rows_taken])
                assert [bits(part) for part in parts] == [bits(part[rows_taken]) for part in whole]


@pytest.mark.parametrize("rows", [1, TILE + 1])
def test_all_instructions_give_the_same_bits(rows):
    head, x, g = given(128, 2 * DEPTH, rows, torch.float32)
    results = []
    for name in COMPILED:
        with _libraries.using(name):
            results.append([bits(part) for part in both(head, x, g)])
    assert all(other == results[0] for other in results)


@pytest.mark.usefixtures("compiled")
def test_a_single_row_is_computed_alone():
    weight = torch.randn(70, 33)
    assert product_rows(1, Head(weight)) == 1
    assert product_rows(1, Head(weight, norm=Norm("rms", 1e-5))) == 1


@pytest.mark.usefixtures("compiled")
def test_a_long_row_has_the_same_bits_on_any_number_of_threads():
    head = Head(torch.randn(3, 2**15), norm=Norm("rms", 1e-5))
    x, target, losses = torch.randn(2, 2**15), torch.tensor([0, 2]), []
    for count in (1, 2, 3):
        with threads(count):
            alone = ce_engine.linear_cross_entropy(x[:1], head, target[:1], reduction="none", grad=True)
            both_rows = ce_engine.linear_cross_entropy(x, head, target, reduction="none", grad=True)
            losses += [
                bits(alone.loss) + bits(present(alone.grad)),
                bits(both_rows.loss[:1]) + bits(present(both_rows.grad)[:1]),
            ]
    assert all(other == losses[0] for other in losses)


def test_rows_are_padded_where_products_are_pytorchs():
    with _libraries.using(None):
        assert product_rows(1, Head(torch.randn(70, 33))) == 16
