import pytest
import torch

import ce_engine

INPUT = torch.zeros(2, 3)
TARGET = torch.tensor([0, 1])


def test_face_of_the_package_is_what_it_was():
    assert ce_engine.__all__ == [
        "DeadlineExceededError",
        "DeviceLostError",
        "Engine",
        "EngineClosedError",
        "EngineError",
        "ExactSum",
        "ExactSums",
        "Head",
        "InvalidArgumentError",
        "Launch",
        "LossResult",
        "MemoryNeeded",
        "Norm",
        "OutOfMemoryError",
        "PlannedSlabBySlab",
        "QueueFullError",
        "Reduction",
        "RowResults",
        "Sketch",
        "Slab",
        "SlabBySlab",
        "StackedResult",
        "Tally",
        "TargetSums",
        "TensorForm",
        "__version__",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cross_entropy",
        "evaluate",
        "evaluate_stacked",
        "exact_sums",
        "exact_sums_by_class",
        "keep_memory",
        "kept_memory",
        "kl_divergence",
        "linear_cross_entropy",
        "memory_needed",
        "nll_loss",
        "slabs",
        "tally",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": INPUT.long()}, "input: expected one of the dtypes float64, float32, float16, bfloat16, got int64"),
        ({"input": torch.zeros(())}, r"input: expected shape \(C\), \(N, C\) or .*, got a scalar"),
        (
            {"target": TARGET.float()},
            r"target: expected class indices .* or probabilities of the input's shape \(2, 3\), got float32 .*",
        ),
        ({"target": TARGET.bool()}, "target: expected class indices of an integer dtype, got bool"),
        ({"target": TARGET[:1]}, r"target: expected shape \(2,\), one class index for each row .*, got \(1,\)"),
        ({"target": TARGET[:, None]}, r"target: expected shape \(2,\), .*, got \(2, 1\)"),
        ({"input": torch.zeros(2, 3, 4)}, r"target: expected shape \(2, 4\), .* \(2, 3, 4\), got \(2,\)"),
        ({"target": torch.tensor([0, 3])}, r"target: expected classes in \[0, 3\) or .* -100, got 3 at row 1"),
        ({"target": torch.tensor([-1, 0])}, "target: .*, got -1 at row 0"),
        (
            {"target": torch.tensor([0, 2**64 - 100], dtype=torch.uint64)},
            "target: expected classes that fit int64, got 18446744073709551516",
        ),
        ({"target": TARGET, "ignore_index": 7, "input": INPUT[:, :1]}, "target: .* ignore_index 7, got 1 at row 1"),
        ({"input": torch.zeros(2, 0)}, r"target: expected classes in \[0, 0\) .*, got 0 at row 0"),
        ({"weight": torch.ones(2)}, r"weight: expected shape \(3,\), one number a class, got \(2,\)"),
        ({"weight": torch.ones(3, dtype=torch.int64)}, "weight: expected one of the dtypes float64, .*, got int64"),
        ({"reduction": "avg"}, "reduction: expected one of 'none', 'mean', 'sum', got 'avg'"),
        ({"empty": "one"}, "empty: expected one of 'nan', 'zero', got 'one'"),
        ({"label_smoothing": 1.5}, r"label_smoothing: expected a number in \[0, 1\], got 1.5"),
        ({"label_smoothing": float("nan")}, "label_smoothing: .*, got nan"),
        ({"grad_output": torch.ones(())}, "grad_output: expected grad=True with it, got grad=False"),
        ({"grad": True, "grad_output": torch.ones(2)}, r"grad_output: expected the loss's shape \(\), got \(2,\)"),
        (
            {"grad": True, "grad_output": torch.ones(()), "reduction": "none"},
            r"grad_output: expected the loss's shape \(2,\), got \(\)",
        ),
    ],
)
def test_wrong_value_is_refused_by_its_name(arguments, message):
    with pytest.raises(ce_engine.InvalidArgumentError, match=message) as raised:
        ce_engine.cross_entropy(**{"input": INPUT, "target": TARGET, **arguments})
    assert message.startswith(raised.value.argument)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": [[0.0, 1.0]]}, "input: expected Tensor, got list"),
        ({"target": 1}, "target: expected Tensor, got int"),
        ({"weight": [1.0, 1.0, 1.0]}, "weight: expected Tensor, got list"),
        ({"sample_weight": 1.0}, "sample_weight: expected Tensor, got float"),
        ({"input": INPUT.to_sparse()}, "input: expected a plain tensor on cpu or cuda, got a sparse_coo one"),
        ({"input": INPUT.to("meta")}, "input: expected a plain tensor on cpu or cuda, got a strided one on meta"),
        ({"ignore_index": 1.5}, "ignore_index: expected int, got float"),
        ({"ignore_index": False}, "ignore_index: expected int, got bool"),
        ({"label_smoothing": "a"}, "label_smoothing: expected .*, got str"),
        ({"label_smoothing": torch.tensor(0.1)}, "label_smoothing: expected .*, got Tensor"),
        ({"reduction": None}, "reduction: expected one of .*, got None"),
        ({"empty": []}, r"empty: expected one of .*, got \[\]"),
        ({"grad": "no"}, "grad: expected bool, got str"),
        ({"outputs": "lse"}, "outputs: expected a collection .*, got 'lse'"),
        ({"outputs": 5}, "outputs: expected a collection .*, got 5"),
        ({"outputs": (name for name in ["lse"])}, "outputs: expected a collection .*, got <generator"),
    ],
)
def test_wrong_type_is_refused_by_its_name(arguments, message):
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        ce_engine.cross_entropy(**({"input": INPUT, "target": TARGET} | arguments))


def test_checked_call_still_checks_numbers():
    assert ce_engine.cross_entropy(INPUT, TARGET, checked=True).loss == ce_engine.cross_entropy(INPUT, TARGET).loss
    with pytest.raises(ce_engine.InvalidArgumentError, match="expected classes in"):
        ce_engine.cross_entropy(INPUT, TARGET + 99, checked=True)
    with pytest.raises(ce_engine.InvalidArgumentError, match="expected probabilities in"):
        ce_engine.binary_cross_entropy(INPUT + 99, INPUT, checked=True)
