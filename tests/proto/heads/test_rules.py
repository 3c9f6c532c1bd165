"""The form of a head and of its names."""

import math
from typing import cast

import pytest

from losswire import v1
from losswire.errors import FieldError
from losswire.heads.rules import check_alias, check_digest, check_head, check_name, is_digest

FLOAT64, FLOAT32, FLOAT16 = v1.Dtype.DTYPE_FLOAT64, v1.Dtype.DTYPE_FLOAT32, v1.Dtype.DTYPE_FLOAT16
INT64 = v1.Dtype.DTYPE_INT64
RMS, LAYER = v1.NormKind.NORM_KIND_RMS, v1.NormKind.NORM_KIND_LAYER
DIGEST = "0123456789abcdef" * 4


def tensor(*shape, dtype=FLOAT32):
    return v1.Tensor(dtype=dtype, shape=shape)


def make_head(**fields):
    return v1.Head(**{"weight": tensor(5, 3), **fields})


@pytest.mark.parametrize(
    "head",
    [
        make_head(),
        make_head(weight=tensor(1, 1)),
        make_head(weight=tensor(5, 3, dtype=FLOAT16), bias=tensor(5)),
        make_head(weight=tensor(5, 3, dtype=FLOAT64), bias=tensor(5, dtype=FLOAT64)),
        make_head(norm=v1.Norm(kind=RMS, eps=0.0, weight=tensor(3))),
        make_head(norm=v1.Norm(kind=LAYER, eps=1e-5, weight=tensor(3), bias=tensor(3))),
        make_head(softcap=30.0, temperature=0.5),
    ],
)
def test_right_head_passes(head):
    check_head(head)


@pytest.mark.parametrize(
    ("head", "field", "problem"),
    [
        (v1.Head(), "weight", r"expected a tensor of shape \(V, H\), got nothing"),
        (make_head(weight=v1.Tensor(shape=(5, 3))), "weight", "expected a dtype that is set"),
        (make_head(weight=tensor(5, 3, dtype=INT64)), "weight", "expected one of the dtypes float64, .*got int64"),
        (make_head(weight=tensor(5)), "weight", r"expected shape \(V, H\), both above 0, .*got \(5,\)"),
        (make_head(weight=tensor(2**31, 3)), "weight", r"V at most 2147483647, got \(2147483648, 3\)"),
        (make_head(weight=tensor(5, 0)), "weight", r"got \(5, 0\)"),
        (make_head(weight=tensor(5, -1)), "weight", "expected no negative dimension"),
        (make_head(weight=tensor(2**31, 1)), "weight", "expected shape"),
        (make_head(bias=tensor(3)), "bias", r"expected shape \(V\), here \(5,\), got \(3,\)"),
        (make_head(bias=tensor(5, dtype=FLOAT64)), "bias", "expected float64 if the weight is.*float32, got float64"),
        (make_head(weight=tensor(5, 3, dtype=FLOAT64), bias=tensor(5)), "bias", "weight is float64, got float32"),
        (
            make_head(norm=v1.Norm(eps=1.0)),
            "norm.kind",
            "expected one of NORM_KIND_RMS, NORM_KIND_LAYER, got",
        ),
        (make_head(norm=v1.Norm(kind=cast("v1.NormKind.ValueType", 7))), "norm.kind", "got number 7"),
        (make_head(norm=v1.Norm(kind=RMS, eps=-1.0)), "norm.eps", "expected a number from 0 to 1e15, got -1.0"),
        (make_head(norm=v1.Norm(kind=RMS, eps=math.nan)), "norm.eps", "got nan"),
        (make_head(norm=v1.Norm(kind=RMS, eps=math.inf)), "norm.eps", "got inf"),
        (make_head(norm=v1.Norm(kind=RMS, weight=tensor(5))), "norm.weight", r"here \(3,\), got \(5,\)"),
        (
            make_head(norm=v1.Norm(kind=RMS, bias=tensor(3))),
            "norm.bias",
            "expected none for a norm of kind rms, got one",
        ),
        (make_head(softcap=0.0), "softcap", "expected a number from 1e-15 to 1e15, got 0.0"),
        (make_head(softcap=math.inf), "softcap", "got inf"),
        (make_head(softcap=1e308), "softcap", r"expected a number from 1e-15 to 1e15, got 1e\+308"),
        (make_head(temperature=1e-320), "temperature", "expected a number from 1e-15 to 1e15, got 1e-320"),
        (make_head(temperature=0.0), "temperature", "expected a number from 1e-15 to 1e15, got 0.0"),
        (make_head(temperature=-1.0), "temperature", "got -1.0"),
        (make_head(temperature=math.nan), "temperature", "got nan"),
    ],
)
def test_wrong_head_is_refused(head, field, problem):
    with pytest.raises(FieldError, match=problem) as caught:
        check_head(head, "header.head")
    assert caught.value.field == f"header.head.{field}"


def test_names_are_digests_or_aliases():
    assert is_digest(DIGEST)
    assert not any(map(is_digest, ("", DIGEST[1:], DIGEST.upper(), f"{DIGEST}\n", DIGEST[1:] + "g")))
    check_digest(DIGEST, "digest")
    check_alias("Llama-3/8B:v1_0.x", "alias")
    check_name(DIGEST, "name")
    check_name("a" * 200, "name")


@pytest.mark.parametrize(
    ("check", "name", "problem"),
    [
        (check_digest, "llama", "64 hexadecimal digits in small letters, got 'llama'"),
        (check_digest, "g" * 1000, "got 1000 characters"),
        (check_alias, DIGEST, "expected an alias, got a digest"),
        (check_alias, "", "expected 1 to 200 letters, digits"),
        (check_alias, "a b", "got 'a b'"),
        (check_name, "a" * 201, "got 201 characters"),
        (check_name, "", "expected a digest, or an alias"),
    ],
)
def test_wrong_name_is_refused(check, name, problem):
    with pytest.raises(FieldError, match=problem) as caught:
        check(name, "field")
    assert caught.value.field == "field"
