"""The rules of runs: names, keys, and the digest by which losses are compared."""

import numpy as np
import pytest

from losswire import v1
from losswire.errors import FieldError
from losswire.runs import MOST_KEY_BYTES, check_new_run, check_run_key, check_run_spec, spec_difference, spec_digest
from losswire.tensors import encode


def spec(loss="cross_entropy", weight=None, **options):
    made = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN)
    getattr(made, loss).SetInParent()
    for name, value in options.items():
        setattr(getattr(made, loss), name, value)
    if weight is not None:
        encode(np.asarray(weight), getattr(made, loss).weight, "weight")
    return made


def key(run="val", key="a", slice=""):
    return v1.RunKey(run=run, key=key, slice=slice)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (key(run=""), "run_key.run"),
        (key(run="a b"), "run_key.run"),
        (key(run="a" * 201), "run_key.run"),
        (key(key=""), "run_key.key"),
        (key(key="a\0"), "run_key.key"),
        (key(key="line\n"), "run_key.key"),
        (key(key="é" * 257), "run_key.key"),
        (key(slice="\x7f"), "run_key.slice"),
        (key(slice="a" * 513), "run_key.slice"),
    ],
)
def test_wrong_key_is_named(wrong, field):
    with pytest.raises(FieldError) as raised:
        check_run_key(wrong)
    assert raised.value.field == field


def test_long_key_is_right():
    check_run_key(key("a" * 200, "é" * (MOST_KEY_BYTES // 2), "domain/Ünïcode 漢字"))


def test_digest_does_not_change():
    # Runs on disk have it: a change of how it is computed would refuse every evaluation of a run that goes on.
    assert spec_digest(spec()) == "021975adc74ba945eeec4261a15ac68d27b7ad14cffd1c7a72433ddfcd7b0ad4"
    assert (
        spec_digest(spec(weight=np.array([1, 2], "float32")))
        == "180cc331e59c271e1f5791335f7d8b260169dddf2149469bc1d218c2dee96e29"
    )


@pytest.mark.parametrize(
    "same",
    [
        spec(),
        spec(ignore_index=-100),
        spec(label_smoothing=0.0),
        spec(label_smoothing=-0.0),
        v1.LossSpec(reduction=v1.Reduction.REDUCTION_SUM, cross_entropy=v1.CrossEntropy()),
        v1.LossSpec(zero_when_empty=True, cross_entropy=v1.CrossEntropy()),
    ],
)
def test_digest_of_the_same_loss_is_the_same(same):
    assert spec_digest(same) == spec_digest(spec())


def test_digests_of_other_losses_differ():
    others = [
        spec(),
        spec("nll_loss"),
        spec("binary_cross_entropy"),
        spec(ignore_index=0),
        spec(label_smoothing=0.1),
        spec(weight=np.array([1, 2], "float32")),
        spec(weight=np.array([1, 2], "float64")),
        spec(weight=np.array([[1, 2]], "float32")),
        spec(weight=np.array([1, 3], "float32")),
        spec("nll_loss", weight=np.array([1, 2], "float32")),
    ]
    assert len({spec_digest(other) for other in others}) == len(others)


@pytest.mark.parametrize(
    ("came", "field", "problem"),
    [
        (spec("nll_loss"), "spec.loss", "has cross_entropy, got nll_loss"),
        (spec(label_smoothing=0.1), "spec.cross_entropy.label_smoothing", "has 0.0, got 0.1"),
        (
            spec(weight=np.array([1, 2], "float32")),
            "spec.cross_entropy.weight",
            "has none, got float32 of shape (2,) with SHA-256 b9c80b5a...",
        ),
    ],
)
def test_difference_of_losses_is_told(came, field, problem):
    assert spec_difference(spec(), came) == (field, problem)
    assert spec_difference(came, came) is None


def shared_weight():
    made = spec()
    made.cross_entropy.weight.dtype = v1.Dtype.DTYPE_FLOAT32
    made.cross_entropy.weight.shape.append(2)
    made.cross_entropy.weight.shared_memory.region_id = "x"
    return made


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (spec(weighting=v1.ClassWeighting.CLASS_WEIGHTING_BALANCED), "spec.cross_entropy.weighting"),
        (spec(label_smoothing=1.5), "spec.cross_entropy.label_smoothing"),
        (spec(weight=np.array([1, 2], "int64")), "spec.cross_entropy.weight"),
        (shared_weight(), "spec.cross_entropy.weight"),
    ],
)
def test_loss_that_depends_on_its_batch_is_no_run(wrong, field):
    with pytest.raises(FieldError) as raised:
        check_run_spec(wrong)
    assert raised.value.field == field


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("shape", [(), (1, 3), (3, 2)])
def test_class_weights_that_fit_no_batch_are_refused(loss, shape):
    with pytest.raises(FieldError) as raised:
        check_run_spec(spec(loss, weight=np.ones(shape, "float32")))
    assert raised.value.field == f"spec.{loss}.weight"
    assert raised.value.problem == f"expected shape (C), one number a class, got {shape}"


@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_weights_of_elements_have_any_shape(shape):
    check_run_spec(spec("binary_cross_entropy", weight=np.ones(shape, "float32")))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"spec": v1.LossSpec()}, "spec.loss"),
        ({"expected_key_count": -1}, "expected_key_count"),
        ({"labels": {str(number): "" for number in range(65)}}, "labels"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"a" * 65: "x"}}, "labels"),
        ({"labels": {"a": "x" * 1025}}, "labels"),
        ({"labels": {"a": "\0"}}, "labels"),
    ],
)
def test_wrong_run_is_named(wrong, field):
    with pytest.raises(FieldError) as raised:
        check_new_run(v1.CreateRunRequest(**{"name": "val", "spec": spec(), **wrong}))
    assert raised.value.field == field
