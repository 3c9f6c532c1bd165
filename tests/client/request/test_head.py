"""A head keeps the arrays of any library, and has the digest of the contract."""

import hashlib
import json
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from losswire import v1
from losswire.heads.content import digest
from losswire.tensors import encode
from losswire_client import Head, InvalidArgumentError, Norm

WEIGHT = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
ONES = np.ones(3, np.float32)
TEXT: Any = "x"  # where a number belongs


def test_digest_is_that_of_the_contract():
    head = Head(WEIGHT, WEIGHT[:, 0], norm=Norm("layer", 1e-5, ONES, ONES * 2), softcap=30.0, temperature=2)
    message = v1.Head(softcap=30.0, temperature=2.0)
    message.norm.kind, message.norm.eps = v1.NormKind.NORM_KIND_LAYER, 1e-5
    encode(WEIGHT, message.weight, "weight")
    encode(WEIGHT[:, 0], message.bias, "bias")
    encode(ONES, message.norm.weight, "norm.weight")
    encode(ONES * 2, message.norm.bias, "norm.bias")
    assert head.digest == digest(message)


def test_digest_is_of_json_as_the_contract_says():
    told = {"weight": ["float32", [7, 3], hashlib.sha256(WEIGHT.tobytes()).hexdigest()]}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert Head(WEIGHT).digest == Head(WEIGHT, temperature=1).digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "weight",
    [
        WEIGHT.astype(">f4"),
        np.asfortranarray(WEIGHT),
        WEIGHT.repeat(2, 0)[::2],
        torch.from_numpy(WEIGHT),
        torch.from_numpy(WEIGHT).T.contiguous().T,
        torch.nn.Parameter(torch.from_numpy(WEIGHT)),
        WEIGHT.data,
    ],
    ids=["other byte order", "other order", "strided", "tensor", "transposed", "parameter", "buffer"],
)
def test_digest_is_of_the_numbers_whatever_their_layout(weight):
    assert Head(weight).digest == Head(WEIGHT).digest


def test_arrays_are_not_copied():
    tensor = torch.from_numpy(WEIGHT).to(torch.bfloat16).requires_grad_()
    array = Head(tensor).arrays["weight"]
    assert array.dtype == ml_dtypes.bfloat16
    assert array.ctypes.data == tensor.data_ptr()
    assert Head(WEIGHT).arrays["weight"].ctypes.data == WEIGHT.ctypes.data


@pytest.mark.parametrize("name", ["digest", "arrays", "form", "class_count", "norm", "anything"])
def test_nothing_of_a_head_can_be_set(name):
    head = Head(WEIGHT)
    with pytest.raises(AttributeError, match=f"{name} of a Head cannot be set: a head never changes"):
        setattr(head, name, 0)
    with pytest.raises(AttributeError, match=f"{name} of a Head cannot be deleted"):
        delattr(head, name)


def test_nothing_of_a_norm_can_be_set():
    with pytest.raises(AttributeError, match="cannot assign to field 'eps'"):
        Norm("rms", 1e-5).eps = 1  # type: ignore[misc]


def test_what_a_head_hands_out_does_not_change_it():
    head = Head(WEIGHT)
    for array in (head.arrays["weight"], pickle.loads(pickle.dumps(head)).arrays["weight"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(TypeError, match="read-only"):
        head.elements["weight"][0] = 0
    head.form.temperature = 2
    assert head.form == Head(WEIGHT).form


def test_digest_is_of_the_numbers_that_were_handed_in():
    weight = WEIGHT.copy()
    head = Head(weight)
    weight[0] = 0
    assert head.digest == Head(WEIGHT).digest


def test_head_tells_its_form():
    head = Head(WEIGHT.astype(np.float16), WEIGHT[:, 0])
    assert (head.class_count, head.width, head.nbytes) == (7, 3, 2 * 21 + 4 * 7)
    assert repr(head) == "<Head of 7 classes and width 3 in float16, 70 bytes>"
    assert pickle.loads(pickle.dumps(head)).digest == head.digest


@pytest.mark.parametrize(
    ("arguments", "argument", "problem"),
    [
        ({"weight": ONES}, "weight", r"expected shape \(V, H\)"),
        ({"weight": np.ones((0, 3))}, "weight", r"expected shape \(V, H\)"),
        ({"weight": np.ones((7, 3), np.int64)}, "weight", "expected one of the dtypes float64"),
        ({"weight": WEIGHT, "bias": ONES}, "bias", r"expected shape \(V\), here \(7,\), got \(3,\)"),
        ({"weight": WEIGHT, "bias": np.ones(7)}, "bias", "expected float64 if the weight is"),
        ({"weight": WEIGHT, "norm": "rms"}, "norm", "expected a Norm or None, got 'rms'"),
        ({"weight": WEIGHT, "norm": Norm("batch", 0)}, "norm.kind", "expected one of 'rms', 'layer', got 'batch'"),
        ({"weight": WEIGHT, "norm": Norm("rms", -1)}, "norm.eps", "expected a number from 0 to 1e15"),
        ({"weight": WEIGHT, "norm": Norm("rms", TEXT)}, "norm.eps", "expected a number of 64 bits, got 'x'"),
        ({"weight": WEIGHT, "norm": Norm("rms", 0, bias=ONES)}, "norm.bias", "expected none"),
        ({"weight": WEIGHT, "norm": Norm("rms", 0, ONES[:2])}, "norm.weight", r"expected shape \(H\)"),
        ({"weight": WEIGHT, "softcap": -1}, "softcap", "expected a number from 1e-15 to 1e15"),
        ({"weight": WEIGHT, "softcap": True}, "softcap", "expected a number of 64 bits, got True"),
        ({"weight": WEIGHT, "temperature": np.True_}, "temperature", "expected a number of 64 bits, got np.True_"),
        ({"weight": WEIGHT, "norm": Norm("rms", True)}, "norm.eps", "expected a number of 64 bits, got True"),
        ({"weight": WEIGHT, "temperature": 1e-320}, "temperature", "expected a number from 1e-15 to 1e15, got 1e-320"),
        ({"weight": WEIGHT, "temperature": float("nan")}, "temperature", "expected a number from 1e-15 to 1e15"),
    ],
)
def test_wrong_argument_is_named(arguments, argument, problem):
    with pytest.raises(InvalidArgumentError, match=problem) as raised:
        Head(**arguments)
    assert raised.value.argument == argument


def test_misspelt_keyword_names_the_nearest():
    with pytest.raises(InvalidArgumentError, match=r"Head\(\) got .* 'softcup'; did you mean 'softcap'\?"):
        Head(WEIGHT, softcup=1)  # type: ignore[call-arg]
