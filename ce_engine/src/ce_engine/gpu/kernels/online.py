"""What kernels keep of a row while they read it, block after block.

A row's columns are dealt out to lanes. Each lane keeps numbers of its own until all of the row is read, so that threads
need not wait for each other until then. Exponentials are relative to the lane's largest column so far.

Infinities need care in one place. If the largest column is infinite, `finite` makes it 0, and then the exponentials of
IEEE 754 are right: +inf for a row that has +inf, 0 for a row of -inf alone.
"""

import triton
import triton.language as tl


@triton.jit
def finite(largest):
    return tl.where(tl.abs(largest) == float("inf"), 0.0, largest)


@triton.jit
def in_lanes(
    x,  # (ROWS, BLOCK)
    LANES: tl.constexpr,
):  # (ROWS, BLOCK / LANES, LANES)
    return tl.reshape(x, [x.shape[0], x.shape[1] // LANES, LANES])


@triton.jit
def add_exponentials(
    s,  # (ROWS, LANES), the sum so far, relative to `largest`
    largest,  # (ROWS, LANES)
    x,  # (ROWS, BLOCK)
    new_largest,  # (ROWS, LANES)
    LANES: tl.constexpr,
):  # relative to `new_largest`
    m = finite(new_largest)
    return s * tl.exp(largest - m) + tl.sum(tl.exp(in_lanes(x, LANES) - m[:, None, :]), 1)


@triton.jit
def bounded(
    d,  # x - largest
):
    """Not below numbers whose exponentials are next to 0, since -inf would make NaN of 0 * d. Keeps NaN."""
    LEAST: tl.constexpr = -709.0 if d.dtype == tl.float64 else -88.0
    return tl.where(d < LEAST, LEAST, d)


@triton.jit
def add_moments(
    moment,  # (ROWS, LANES), sum of exp(x - largest) (x - largest) so far
    s,  # (ROWS, LANES), the sum of exponentials so far
    largest,  # (ROWS, LANES)
    x,  # (ROWS, BLOCK)
    new_largest,  # (ROWS, LANES)
    LANES: tl.constexpr,
):  # relative to `new_largest`
    m = finite(new_largest)
    d = in_lanes(x, LANES) - m[:, None, :]
    return moved_moment(moment, s, largest, m) + tl.sum(tl.exp(d) * bounded(d), 1)


@triton.jit
def moved_moment(moment, s, largest, m):
    """A moment relative to a larger and finite m."""
    return tl.exp(largest - m) * (moment + s * bounded(finite(largest) - m))


@triton.jit
def add_products(
    dot,  # (ROWS, LANES), sum of t (x - largest) so far
    t_sum,  # (ROWS, LANES), sum of t so far
    largest,  # (ROWS, LANES)
    x,  # (ROWS, BLOCK)
    t,  # (ROWS, BLOCK)
    new_largest,  # (ROWS, LANES)
    LANES: tl.constexpr,
):  # relative to `new_largest`
    m = finite(new_largest)
    products = in_lanes(t, LANES) * (in_lanes(x, LANES) - m[:, None, :])
    return dot + t_sum * (finite(largest) - m) + tl.sum(products, 1)


@triton.jit
def order(
    x,  # float32 or float64
):
    """Integers in the order of floating-point numbers as ``torch.argmax`` sees it: NaN is the largest, and -0 is 0."""
    integer: tl.constexpr = tl.int64 if x.dtype == tl.float64 else tl.int32
    SIGN: tl.constexpr = 63 if x.dtype == tl.float64 else 31
    LARGEST: tl.constexpr = 2**63 - 1 if x.dtype == tl.float64 else 2**31 - 1
    bits = tl.where(x == 0, 0.0, x).to(integer, bitcast=True)
    return tl.where(x != x, LARGEST, bits ^ ((bits >> SIGN) & LARGEST))


@triton.jit
def first_largest(
    keys,  # (ROWS, n) or (ROWS, n, LANES)
    columns,  # as keys, or broadcasts to it
):  # the largest along dimension 1, and the first column that has it
    largest = tl.max(keys, 1)
    return largest, tl.min(tl.where(keys == tl.expand_dims(largest, 1), columns, 0x7FFFFFFF), 1)


@triton.jit
def add_keys(
    key,  # (ROWS, LANES), the largest so far
    column,  # (ROWS, LANES), where it was seen first
    keys,  # (ROWS, BLOCK)
    columns,  # (1, BLOCK), after those seen so far
    LANES: tl.constexpr,
):
    new_key, new_column = first_largest(in_lanes(keys, LANES), in_lanes(columns, LANES))
    return tl.maximum(key, new_key), tl.where(new_key > key, new_column, column)
