"""PyTorch's own samples of these losses, forward and backward, and its own error inputs.

They are private to PyTorch and change between its versions. constraints.txt pins 2.13, and the tests assert its numbers
of samples, so that missing samples cannot pass for samples that agree.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

import ce_engine
from tests.ce_engine.helpers import FLOATS, HALVES, TOLERANCES, Problem, assert_close, assert_no_worse

pytestmark = pytest.mark.usefixtures("either_kernels")

FUNCTIONS = {
    "nn.functional.cross_entropy": 21,
    "nn.functional.nll_loss": 61,
    "nn.functional.binary_cross_entropy": 11,
    "nn.functional.binary_cross_entropy_with_logits": 26,
}
MODULES = {"nn.CrossEntropyLoss": 105, "nn.NLLLoss": 28, "nn.BCELoss": 6, "nn.BCEWithLogitsLoss": 6}
COUNTS = FUNCTIONS | MODULES
LOSSES = {
    "nn.CrossEntropyLoss": "cross_entropy",
    "nn.NLLLoss": "nll_loss",
    "nn.BCELoss": "binary_cross_entropy",
    "nn.BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
}


# Both are imported only in tests that need them: it takes seconds, and every worker of pytest-xdist collects all tests.
@cache
def operators() -> dict[str, Any]:
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.name: op for op in op_db if op.name in FUNCTIONS}


@cache
def modules() -> dict[str, Any]:
    from torch.testing._internal.common_modules import module_db

    return {module.name: module for module in module_db if module.name in MODULES}


@cache
def samples(name: str, dtype: torch.dtype) -> list[Problem]:
    torch.manual_seed(0)
    return list(function_samples(name, dtype) if name in FUNCTIONS else module_samples(name, dtype))


def function_samples(name: str, dtype: torch.dtype) -> Iterator[Problem]:
    for sample in operators()[name].sample_inputs("cpu", dtype):
        (target,) = sample.args
        yield Problem(name.removeprefix("nn.functional."), sample.input, target, sample.kwargs)


def module_samples(name: str, dtype: torch.dtype) -> Iterator[Problem]:
    module = modules()[name]
    for sample in module.module_inputs_func(module, device="cpu", dtype=dtype, requires_grad=False, training=True):
        assert not sample.constructor_input.args
        input, target = sample.forward_input.args
        yield Problem(LOSSES[name], input, target, sample.constructor_input.kwargs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", COUNTS)
def test_samples_are_all_there_and_finite(name, dtype):
    # Finite, since with other numbers the gradient of ignored rows differs from PyTorch's: see docs/numerics.md.
    assert len(samples(name, dtype)) == COUNTS[name]
    assert all(sample.input.isfinite().all() for sample in samples(name, dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", COUNTS)
def test_samples_agree_with_torch(name, dtype):
    for sample in samples(name, dtype):
        assert_close(sample.ours(), *sample.theirs(), TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", COUNTS)
def test_halves_are_no_worse_than_torch(name, dtype):
    for sample in samples(name, dtype):
        result, (loss, grad) = sample.ours(), sample.theirs()
        true_loss, true_grad = sample.to(torch.float64).theirs()
        assert_no_worse(result.loss, loss, true_loss)
        assert_no_worse(result.grad, grad, true_grad)


@pytest.mark.parametrize("name", MODULES)
def test_samples_agree_with_their_reference(name):
    module = modules()[name]
    torch.manual_seed(0)
    inputs = module.module_inputs_func(module, device="cpu", dtype=torch.float64, requires_grad=False, training=True)
    assert len(inputs) == sum(sample.reference_fn is not None for sample in inputs) == MODULES[name]
    for sample in inputs:
        options, (input, target) = sample.constructor_input.kwargs, sample.forward_input.args
        truth = sample.reference_fn(getattr(nn, name.removeprefix("nn."))(**options), input, target)
        ours = getattr(ce_engine, LOSSES[name])(input, target, **options).loss
        torch.testing.assert_close(ours, truth, atol=1e-12, rtol=1e-12, equal_nan=True)


# Our errors for PyTorch's error inputs, in their order.
ERRORS: dict[str, list[str | None]] = {
    "nn.CrossEntropyLoss": [
        r"target: expected shape \(2,\), one class index for each row .*, got \(2, 3\)",
        r"target: expected class indices .* or probabilities of the input's shape \(2, 3\), got float\d+ .*",
        r"target: expected shape \(2,\), .*, got \(3,\)",
        r"weight: expected shape \(3,\), one number a class, got \(2,\)",
        "ignore_index: expected a negative one for probability targets, got 1",
        r"label_smoothing: expected a number in \[0, 1\], got 1.5",
        r"target: expected shape \(2, 5\), .*, got \(2, 4\)",
    ],
    "nn.NLLLoss": [None],  # a weight whose dtype is not the input's is no error here
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ERRORS)
def test_error_inputs_are_refused(name, dtype):
    module = modules()[name]
    errors = module.module_error_inputs_func(module, device="cpu", dtype=dtype, requires_grad=False, training=True)
    for error, message in zip(errors, ERRORS[name], strict=True):
        sample = error.module_error_input
        input, target = sample.forward_input.args
        problem = Problem(LOSSES[name], input, target, sample.constructor_input.kwargs)
        with pytest.raises(error.error_type, match=error.error_regex):
            problem.theirs()
        if message is None:
            assert problem.ours().row_count == len(problem.target)
        else:
            with pytest.raises(ce_engine.InvalidArgumentError, match=message):
                problem.ours()


def test_error_inputs_are_all_there():
    assert {name for name, module in modules().items() if module.module_error_inputs_func} == set(ERRORS)
    assert not any(op.error_inputs_func for op in operators().values())
