"""What heads keep, and what they refuse."""

import weakref

import pytest
import torch

import ce_engine
from ce_engine import Head, Norm
from ce_engine._heads import logits, products
from ce_engine._heads.logits import tile_rows
from ce_engine._memory import empty
from tests.present import present


def full(dtype: torch.dtype) -> Head:
    norm = Norm("layer", 1e-5, torch.rand(33).to(dtype), torch.rand(33).to(dtype))
    return Head(torch.rand(70, 33).to(dtype), torch.rand(70).to(dtype), norm=norm)


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float64, 8), (torch.float32, 4), (torch.float16, 4), (torch.bfloat16, 4)]
)
def test_tensors_are_kept_once_padded_and_in_the_dtype_that_is_computed_in(dtype, size):
    head = full(dtype)
    assert (head.class_count, head.width, head.dtype) == (70, 33, dtype)
    assert head.weight.shape == (128, 64)
    mean = 0 if head.packed is None else 4 * 64  # of the weight's rows
    assert head.nbytes == size * (128 * 64 + 128 + 2 * 64) + mean
    assert not head.weight[70:].any()
    assert not head.weight[:, 33:].any()


def test_head_does_not_change_with_the_tensors_it_was_made_of():
    weight = torch.rand(64, 64)
    head = Head(weight)
    before = head.weight.clone()
    weight.zero_()
    assert torch.equal(head.weight, before)


def test_head_equals_only_itself():
    weight = torch.rand(3, 2)
    assert Head(weight) != Head(weight)


def test_head_of_a_parameter_is_no_part_of_its_graph():
    assert not Head(torch.nn.Parameter(torch.rand(3, 2))).weight.requires_grad


def test_tile_has_as_many_rows_as_fit():
    for classes, dtype, rows in [
        (1, torch.float32, 256),
        (32000, torch.bfloat16, 256),
        (128256, torch.float32, 128),
        (128256, torch.float64, 64),
        (2**22, torch.float32, 16),
    ]:
        assert tile_rows(Head(torch.zeros(classes, 1, dtype=dtype))) == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": [[1.0]]}, "weight: expected Tensor, got list"),
        ({"weight": torch.ones(3)}, r"weight: expected shape \(V, H\), .* got \(3,\)"),
        ({"weight": torch.ones(0, 3)}, r"weight: expected shape \(V, H\), .* got \(0, 3\)"),
        ({"weight": torch.ones(3, 2).long()}, "weight: expected one of the dtypes .* got int64"),
        ({"bias": torch.ones(2)}, r"bias: expected shape \(3,\), one number a class, got \(2,\)"),
        (
            {"bias": torch.ones(3).double()},
            "bias: expected float32, float16 or bfloat16 with a weight in float32, got float64",
        ),
        ({"norm": "rms"}, "norm: expected Norm, got str"),
        ({"norm": Norm("batch", 1e-5)}, "norm.kind: expected one of 'rms', 'layer', got 'batch'"),  # type: ignore[arg-type]
        ({"norm": Norm("rms", -1.0)}, "norm.eps: expected a number from 0 to 1e15, got -1.0"),
        ({"norm": Norm("rms", 0.0, torch.ones(3))}, r"norm.weight: expected shape \(2,\), .* got \(3,\)"),
        ({"norm": Norm("rms", 0.0, None, torch.ones(2))}, "norm.bias: expected none with kind 'rms', got a tensor"),
        ({"softcap": 0.0}, "softcap: expected a number from 1e-15 to 1e15, got 0.0"),
        ({"softcap": 1e-320}, "softcap: expected a number from 1e-15 to 1e15, got 1e-320"),
        ({"softcap": 1e308}, r"softcap: expected a number from 1e-15 to 1e15, got 1e\+308"),
        ({"softcap": True}, r"softcap: expected float \| int, got bool"),
        ({"temperature": 1e-320}, "temperature: expected a number from 1e-15 to 1e15, got 1e-320"),
        ({"norm": Norm("rms", 1e308)}, r"norm.eps: expected a number from 0 to 1e15, got 1e\+308"),
        ({"softcap": float("nan")}, "softcap: expected a number from 1e-15 to 1e15, got nan"),
        ({"temperature": float("inf")}, "temperature: expected a number from 1e-15 to 1e15, got inf"),
        ({"temperature": "1"}, "temperature: expected float | int, got str"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        Head(**({"weight": torch.ones(3, 2)} | arguments))


def test_never_more_than_one_tile_of_logits_is_held(monkeypatch):
    monkeypatch.setattr(logits, "TILE_BYTES", 1)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = [0]

    def record(shape, dtype, device):
        memory = empty(shape, dtype, device)
        if shape[1] == 1024:
            alive.add(memory)
            most[0] = max(most[0], len(alive))
        return memory

    monkeypatch.setattr(products, "empty", record)
    head, x = Head(torch.rand(1000, 33)), torch.rand(100, 33)
    result = ce_engine.linear_cross_entropy(x, head, torch.randint(1000, (100,)), grad=True)
    assert present(result.grad).shape == x.shape
    assert most == [1]
