import inspect
from pathlib import Path
from typing import Any, get_args

import pytest
from google.protobuf.descriptor import Descriptor

from losswire import v1
from losswire.errors import FieldError
from losswire.fields import field_of
from losswire_server.errors import NotServedError
from losswire_server.requests.check import MAX_SUMMED_CLASSES, check_request
from losswire_server.requests.planning import PLANS
from tests.present import present
from tests.server.evaluating import evaluate
from tests.server.packs import MEAN, small

ROOT = Path(__file__).parents[3]


def tensor(dtype, shape, size):
    return v1.Tensor(dtype=dtype, shape=shape, data=bytes(size))


def request() -> v1.EvaluateRequest:
    """The smallest right request: two rows of three classes, with all targets 0."""
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        input=tensor(v1.Dtype.DTYPE_FLOAT32, [2, 3], 24),
        target=tensor(v1.Dtype.DTYPE_INT64, [2], 16),
    )


def changed(change) -> v1.EvaluateRequest:
    wrong = request()
    change(wrong)
    return wrong


def test_right_request_is_evaluated():
    response = evaluate(request())
    assert response.loss_sum == pytest.approx(2 * 1.0986123)
    assert (response.weight_sum, response.row_count, response.ignored_count) == (2, 2, 0)


def test_unset_ignore_index_is_torchs():
    assert evaluate(request()).ignored_count == 0
    assert evaluate(changed(lambda r: setattr(r.spec.cross_entropy, "ignore_index", 0))).ignored_count == 2


def test_sums_by_class_of_a_target_with_a_head_need_labels():
    request = small(exact=v1.ExactSpec(by_class=True))
    request.target.CopyFrom(request.input)
    of_kind = v1.KlDivergence(divergence=v1.Divergence.DIVERGENCE_FORWARD, target_head="teacher")
    request.spec.CopyFrom(v1.LossSpec(reduction=MEAN, kl_divergence=of_kind))
    with pytest.raises(FieldError, match="expected them with exact sums by class") as raised:
        check_request(request)
    assert raised.value.field == "labels"


def test_contract_tells_how_many_classes_are_added_up():
    told = f"The input may have at most {MAX_SUMMED_CLASSES:,} classes."
    assert told in (ROOT / "proto/protos/losswire/v1/evaluate.proto").read_text()


def reshape(request: v1.EvaluateRequest, input: list[int], target: list[int]) -> None:
    request.input.shape[:] = input
    request.target.shape[:] = target


def sum_many_classes(request: v1.EvaluateRequest) -> None:
    reshape(request, [2, 10_001], [2])
    request.exact.by_class = True


def test_hidden_states_of_a_target_tell_no_classes():
    """It is told before anything is computed: the classes of rows are found after that."""
    one = v1.EvaluateRequest(input=tensor(v1.Dtype.DTYPE_FLOAT32, [2, 3], 24), exact=v1.ExactSpec(by_class=True))
    one.target.CopyFrom(one.input)
    one.spec.reduction = v1.Reduction.REDUCTION_MEAN
    one.spec.kl_divergence.divergence = v1.Divergence.DIVERGENCE_FORWARD
    one.spec.kl_divergence.target_head = "llama"
    with pytest.raises(FieldError, match="expected them with exact sums by class where the target is hidden") as caught:
        check_request(one)
    assert caught.value.field == "labels"
    one.labels.CopyFrom(tensor(v1.Dtype.DTYPE_INT64, [2], 16))
    check_request(one)


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        (lambda r: r.ClearField("spec"), "spec", "expected it to be set"),
        (lambda r: r.ClearField("input"), "input", "expected it to be set"),
        (lambda r: r.ClearField("target"), "target", "expected it to be set"),
        (
            lambda r: r.spec.ClearField("cross_entropy"),
            "spec.loss",
            "expected one of cross_entropy, nll_loss, .*nothing",
        ),
        (lambda r: r.spec.ClearField("reduction"), "spec.reduction", "REDUCTION_NONE, .*got REDUCTION_UNSPECIFIED"),
        (lambda r: setattr(r.spec, "reduction", 9), "spec.reduction", "expected one of .*, got number 9"),
        (
            lambda r: setattr(r.spec.cross_entropy, "weighting", 0),
            "spec.cross_entropy.weighting",
            "got CLASS_WEIGHTING_UNSPECIFIED",
        ),
        (lambda r: r.outputs.outputs.append(0), "outputs.outputs", "got OUTPUT_UNSPECIFIED"),
        (lambda r: r.outputs.outputs.append(77), "outputs.outputs", "got number 77"),
        (lambda r: setattr(r.outputs.gradient, "dtype", 0), "outputs.gradient.dtype", "got DTYPE_UNSPECIFIED"),
        (lambda r: setattr(r, "series", "a b"), "series", "expected up to 64 letters, .*, got 'a b'"),
        (lambda r: setattr(r, "series", "a" * 65), "series", "expected up to 64 letters"),
        (lambda r: setattr(r.input, "dtype", 0), "input", "expected a dtype that is set and known"),
        (lambda r: setattr(r.input, "data", b"123"), "input", "expected 24 bytes for float32 .*, got 3"),
        (lambda r: setattr(r.input, "dtype", v1.Dtype.DTYPE_INT32), "input", "expected one of the dtypes .*int32"),
        (lambda r: reshape(r, [65537, 0], [65537]), "input", "at most 65536 rows without classes, got 65537"),
        (
            sum_many_classes,
            "exact.by_class",
            "expected at most 10000 classes to add up each of them, got an input of 10001",
        ),
        (
            lambda r: reshape(r, [2**62, 0, 2**62], [2**62, 2**62]),
            "input",
            "expected a shape of at most 1152921504606846975 elements",
        ),
        (lambda r: r.target.shape.append(1), "target", r"expected shape \(2,\), .*got \(2, 1\)"),
        (lambda r: setattr(r.target, "data", b"\x03" + bytes(15)), "target", "got 3 at row 0"),
        (lambda r: setattr(r.target, "dtype", v1.Dtype.DTYPE_BOOL), "target", "of an integer dtype, got bool"),
        (
            lambda r: r.spec.cross_entropy.weight.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [2], 8)),
            "spec.cross_entropy.weight",
            r"expected shape \(3,\)",
        ),
        (
            lambda r: setattr(r.spec.cross_entropy, "label_smoothing", -0.1),
            "spec.cross_entropy.label_smoothing",
            "got -0.1",
        ),
        (
            lambda r: r.outputs.gradient.grad_output.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [2], 8)),
            "outputs.gradient.grad_output",
            r"expected the loss's shape \(\), got \(2,\)",
        ),
        (lambda r: r.outputs.outputs.extend([2, 2]), "outputs.outputs", "expected each at most once"),
        (
            lambda r: (r.spec.nll_loss.SetInParent(), r.target.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [2], 8))),
            "target",
            "expected class indices of an integer dtype, got float32",
        ),
        (
            lambda r: (
                r.spec.cross_entropy.MergeFrom(v1.CrossEntropy(weighting=v1.ClassWeighting.CLASS_WEIGHTING_BALANCED)),
                r.target.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [2, 3], 24)),
            ),
            "spec.cross_entropy.weighting",
            "expected numbers for probability targets",
        ),
        (
            lambda r: r.sample_weight.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [3], 12)),
            "sample_weight",
            r"shape \(2,\), got \(3,\)",
        ),
    ],
)
def test_wrong_field_is_refused_by_its_path(change, field, problem):
    with pytest.raises(FieldError, match=problem) as raised:
        evaluate(changed(change))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: r.outputs.gradient.destination.SetInParent(), "outputs.gradient.destination"),
        (lambda r: r.input.shared_memory.SetInParent(), "input.shared_memory"),
    ],
)
def test_unserved_field_is_named(change, field):
    with pytest.raises(NotServedError) as raised:
        evaluate(changed(change))
    assert raised.value.field == field


def fields_on_the_way(path):
    """For each name of a path, whether it is a field of the message at the path before it."""
    message: Descriptor | None = v1.EvaluateRequest.DESCRIPTOR
    for name in path.split("."):
        yield message is not None and name in message.fields_by_name
        message = present(message).fields_by_name[name].message_type


@pytest.mark.parametrize("loss", PLANS)
def test_engine_arguments_have_fields(loss):
    of_loss: dict[str, Any] = {loss: {}}
    spec = v1.LossSpec(**of_loss)
    arguments = dict(inspect.signature(PLANS[loss]).parameters)
    (common,) = get_args(arguments.pop("common").annotation)
    for argument in {*arguments, *common.__annotations__} - {"checked"}:  # the server sets it, and no caller does
        assert all(fields_on_the_way(field_of(argument, spec))), argument


def test_empty_shape_takes_no_memory():
    immense = request()
    immense.input.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, [0, 2**59], 0))
    immense.target.CopyFrom(tensor(v1.Dtype.DTYPE_INT64, [0], 0))
    immense.spec.cross_entropy.label_smoothing = 0.1
    immense.outputs.gradient.SetInParent()
    assert evaluate(immense).row_count == 0


@pytest.mark.parametrize("loss", PLANS)
@pytest.mark.parametrize("wide", [2**40, 2**59, 2**60, 2**62, 2**63 - 1])
@pytest.mark.parametrize("dtype", ["FLOAT64", "FLOAT32", "FLOAT16"])
def test_immense_empty_shapes_are_no_fault(loss, wide, dtype):
    binary = "binary" in loss
    for shape in ([0, wide], [wide, 0], [0, wide, 3], [0, 2, wide], [wide, 2, 0]):
        of_loss: dict[str, Any] = {loss: {}}
        empty = v1.EvaluateRequest(spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_NONE, **of_loss))
        rows = shape if binary else [shape[0], *shape[2:]]
        empty.input.CopyFrom(tensor(v1.Dtype.Value(f"DTYPE_{dtype}"), shape, 0))
        empty.target.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32 if binary else v1.Dtype.DTYPE_INT64, rows, 0))
        empty.sample_weight.CopyFrom(tensor(v1.Dtype.DTYPE_FLOAT32, rows, 0))
        empty.outputs.outputs.extend(v1.Output.values()[2 if binary else 1 :])
        empty.outputs.gradient.SetInParent()
        try:
            response = evaluate(empty)
        except FieldError:
            continue
        assert (response.row_count, list(response.gradient.shape)) == (0, shape)


@pytest.mark.parametrize("replaced", ["target", "spec"])
def test_unknown_field_precedes_missing_ones(replaced):
    newer = changed(lambda r: r.ClearField(replaced))
    newer.MergeFromString(b"\xa0\x06\x01")  # field 100, a varint
    with pytest.raises(NotServedError, match="does not know its field number 100"):
        evaluate(newer)


@pytest.mark.parametrize("path", ["", "spec", "spec.cross_entropy", "outputs", "outputs.gradient", "target"])
def test_unknown_field_is_refused(path):
    newer = changed(lambda r: r.outputs.gradient.SetInParent())
    message = newer
    for name in path.split(".") if path else ():
        message = getattr(message, name)
    message.MergeFromString(b"\xa0\x06\x01")  # field 100, a varint
    with pytest.raises(NotServedError, match="does not know its field number 100") as raised:
        evaluate(newer)
    assert raised.value.field == (path or "request")
