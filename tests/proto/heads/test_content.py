"""The digest of a head, by the contract's words alone, and where its tensors lie in its content."""

import hashlib
import json

import ml_dtypes
import numpy as np
import pytest

from losswire import v1
from losswire.errors import FieldError
from losswire.heads.content import content_bytes, digest, digest_of, parts_of, tensors_of, without_elements
from losswire.tensors import encode


def make_head(*, dtype="float32", bias=False, norm=None, **numbers):
    head, random = v1.Head(**numbers), np.random.default_rng(0)
    encode(random.random((5, 3)).astype(dtype), head.weight, "weight")
    if bias:
        encode(random.random(5).astype(dtype), head.bias, "bias")
    if norm:
        head.norm.kind, head.norm.eps = v1.NormKind.Value(f"NORM_KIND_{norm.upper()}"), 1e-5
        encode(random.random(3).astype(dtype), head.norm.weight, "norm.weight")
        if norm == "layer":
            encode(random.random(3).astype(dtype), head.norm.bias, "norm.bias")
    return head


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_digest_of_weight_is_that_of_the_text_in_the_contract():
    head = make_head()
    text = '{"weight":["float32",[5,3],"' + sha256(head.weight.data) + '"]}'
    assert digest(head) == sha256(text.encode())


def test_digest_of_whole_head_is_that_of_the_text_in_the_contract():
    head = make_head(bias=True, norm="layer", softcap=30.0, temperature=0.1)
    parts = [sha256(data) for data in (head.bias.data, head.norm.bias.data, head.norm.weight.data, head.weight.data)]
    text = (
        '{"bias":["float32",[5],"%s"],"norm":{"bias":["float32",[3],"%s"],"eps":1e-05,"kind":"layer",'
        '"weight":["float32",[3],"%s"]},"softcap":30.0,"temperature":0.1,"weight":["float32",[5,3],"%s"]}'
    )
    assert digest(head) == sha256((text % tuple(parts)).encode())
    assert json.loads(text % tuple(parts))["norm"]["eps"] == 1e-5


@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16])
def test_digest_knows_dtype(dtype):
    assert digest(make_head(dtype=dtype)) not in {digest(make_head()), digest(make_head(bias=True))}


@pytest.mark.parametrize("numbers", [{"temperature": 1.0}, {"softcap": 0.0}])
def test_digest_leaves_out_numbers_that_change_nothing(numbers):
    assert digest(make_head(**numbers)) == digest(make_head())


@pytest.mark.parametrize("changed", [{"softcap": 1.0}, {"temperature": 2.0}, {"norm": "rms"}, {"bias": True}])
def test_digest_differs_with_content(changed):
    assert digest(make_head(**changed)) != digest(make_head())


def test_digest_of_elements_elsewhere_is_the_same():
    head = make_head(bias=True, norm="layer", softcap=2.0)
    elements = {name: sha256(tensor.data) for name, tensor in tensors_of(head).items()}
    told = without_elements(head)
    assert not any(tensor.data for tensor in tensors_of(told).values())
    assert digest_of(told, elements) == digest(head)


def test_digest_of_negative_zero_is_that_of_zero():
    heads = [make_head(norm="rms") for _ in range(2)]
    heads[0].norm.eps, heads[1].norm.eps = 0.0, -0.0
    assert digest(heads[0]) == digest(heads[1])


def test_digest_of_too_few_elements_is_refused():
    head = make_head()
    head.weight.data = head.weight.data[:-1]
    with pytest.raises(FieldError, match=r"head\.weight: expected 60 bytes"):
        digest(head)


def test_content_is_weight_bias_and_norm():
    head = make_head(dtype="float64", bias=True, norm="layer")
    places = [(part.name, part.offset, part.size) for part in parts_of(head)]
    assert places == [("weight", 0, 120), ("bias", 120, 40), ("norm.weight", 160, 24), ("norm.bias", 184, 24)]
    assert content_bytes(head) == 208
