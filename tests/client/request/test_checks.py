"""The client refuses a wrong form, and the server a wrong number. Both name the same argument in the same words."""

import itertools

import ml_dtypes
import numpy as np
import pytest
import torch

import ce_engine
from losswire.losses import LOSSES
from losswire_client import Client, InvalidArgumentError
from tests.client.request.verdicts import alike, of_the_engine, of_the_plan, of_the_sdk, of_the_server
from tests.client.request.wrong_calls import LOGITS, POSITIVE, PROBABILITIES, RIGHT, WRONG, WRONG_FORMS, WRONG_NUMBERS

FORMS = [(loss, wrong) for loss, calls in WRONG_FORMS.items() for wrong in calls]
NUMBERS = [(loss, wrong) for loss, calls in WRONG_NUMBERS.items() for wrong in calls]

# If weights depend on targets, all targets are checked before the input. What a head tells is checked before rows come.
OTHERWISE_IN_STREAMS = ("target NaN", "hidden states of another width", "probabilities of other classes")
LAST = "top_k of more than the classes"  # which the engine finds when it has looked at the elements


@pytest.mark.parametrize(("loss", "wrong"), FORMS)
def test_wrong_form_is_refused_by_both(loss, wrong):
    arguments = RIGHT[loss] | WRONG[loss][wrong]
    refusal = of_the_sdk(loss, arguments)
    assert refusal == of_the_plan(loss, arguments)
    assert alike(loss, refusal, of_the_engine(loss, arguments))
    assert refusal is not None
    assert refusal.text.startswith(f"{refusal.argument}: expected ")


@pytest.mark.parametrize(("loss", "wrong"), NUMBERS)
def test_wrong_number_is_left_to_the_server(loss, wrong):
    arguments = RIGHT[loss] | WRONG[loss][wrong]
    refusal = of_the_plan(loss, arguments)
    assert refusal == of_the_engine(loss, arguments)
    assert refusal is not None
    assert of_the_sdk(loss, arguments) is None


@pytest.mark.parametrize("loss", RIGHT)
def test_first_of_two_wrong_is_named(loss):
    for (first, wrong), (last, also_wrong) in itertools.permutations(WRONG[loss].items(), 2):
        if first > last and not wrong.keys() & also_wrong.keys():
            continue  # the same arguments in the other order
        arguments = RIGHT[loss] | wrong | also_wrong
        refusal = of_the_plan(loss, arguments)
        if not LOSSES[loss].classes_last and LAST not in (first, last):  # else the engine looks at heads first
            assert refusal == of_the_engine(loss, arguments)
        if of_the_sdk(loss, arguments) != refusal:
            assert {first, last} & set(WRONG_NUMBERS[loss])
            assert of_the_sdk(loss, arguments) is None


@pytest.mark.parametrize(
    ("transport", "otherwise"),
    [
        ("unary", ()),
        # A scalar cannot be cut into slabs.
        ("stream", ("input a scalar", *OTHERWISE_IN_STREAMS)),
    ],
)
def test_server_refuses_over_the_wire(target, transport, otherwise):
    with Client(target, transport=transport) as client:
        for loss, wrong in FORMS + NUMBERS:
            if wrong in otherwise:
                continue
            arguments = RIGHT[loss] | WRONG[loss][wrong]
            assert of_the_server(client, loss, arguments) == of_the_plan(loss, arguments), wrong


def test_wrong_form_is_never_sent():
    with Client("127.0.0.1:1") as unconnected:
        for loss, wrong in FORMS:
            with pytest.raises(InvalidArgumentError) as raised:
                getattr(unconnected, loss)(**RIGHT[loss] | WRONG[loss][wrong])
            assert raised.value.code is None


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
@pytest.mark.parametrize("coalesce", [False, True])
def test_wrong_number_comes_back(target, transport, coalesce):
    with Client(target, transport=transport, coalesce=coalesce) as client:
        for loss, wrong in NUMBERS:
            if wrong in OTHERWISE_IN_STREAMS and transport == "stream":
                continue
            arguments = RIGHT[loss] | WRONG[loss][wrong]
            with pytest.raises(InvalidArgumentError) as raised:
                getattr(client, loss)(**arguments)
            assert (raised.value.argument, raised.value.args[0]) == of_the_plan(loss, arguments)


@pytest.mark.parametrize("loss", RIGHT)
def test_right_call_is_accepted(loss):
    assert of_the_sdk(loss, RIGHT[loss]) is None


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        ("cross_entropy", {"target": np.array([-100, 1])}),
        ("cross_entropy", {"target": np.array([3, 1]), "ignore_index": 3}),
        ("cross_entropy", {"target": np.array([3, 1], np.uint8), "ignore_index": 3}),
        ("cross_entropy", {"input": LOGITS[:, :0], "target": np.array([-100, -100])}),
        ("cross_entropy", {"input": np.zeros((0, 3)), "target": np.zeros(0, np.uint64)}),
        ("cross_entropy", {"input": np.zeros((0, 0)), "target": np.zeros((0, 0))}),
        ("cross_entropy", {"target": PROBABILITIES * 5 - 1, "weight": np.array([-1.0, 0.0, np.nan])}),
        ("nll_loss", {"input": LOGITS[0], "target": 2}),
        ("nll_loss", {"input": np.zeros((1,) * 64, np.float32), "target": np.zeros((1,) * 63, np.int8)}),
        ("binary_cross_entropy", {"input": PROBABILITIES * -0.0}),
        (
            "binary_cross_entropy",
            {"input": np.array([1 + 2e-16], np.float64), "target": [1.0], "wire_dtype": "float16"},
        ),
        (
            "binary_cross_entropy",
            {"input": np.array([-1e-300], np.float64), "target": [-0.0], "wire_dtype": "bfloat16"},
        ),
        ("binary_cross_entropy", {"input": np.zeros(()), "target": 0.5, "weight": np.ones(())}),
        ("binary_cross_entropy", {"target": POSITIVE * -0.0, "weight": "balanced"}),
        ("binary_cross_entropy", {"input": np.zeros((0, 3)), "target": np.zeros((0, 3)), "weight": "complement"}),
        ("binary_cross_entropy_with_logits", {"target": POSITIVE * 5 - 1, "weight": np.ones(3)}),
        ("binary_cross_entropy_with_logits", {"pos_weight": np.ones((2, 1)), "weight": np.ones(())}),
    ],
)
def test_unusual_call_is_accepted(loss, arguments):
    assert of_the_sdk(loss, RIGHT[loss] | arguments) is None
    assert of_the_plan(loss, RIGHT[loss] | arguments) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"grad_output": np.ones(())},
        {"grad_output": np.ones(2), "reduction": "none"},
        {"grad_output": np.ones(7), "sample_weight": np.ones(7)},
        {"input": LOGITS.astype(np.complex64)},
        {"target": np.array([0, 2], np.complex64)},
        {"target": np.array([0, 2**63, 2**64 - 1], np.uint64), "input": np.zeros((3, 3))},
        {"weight": np.ones(3, np.int8)},
        {"weight": "even"},
        {"sample_weight": np.ones(2, np.uint32)},
        {"reduction": "avg"},
        {"empty": "one"},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_what_no_request_says_is_refused(loss, arguments):
    arguments = RIGHT[loss] | arguments
    tensors = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in arguments.items()}
    with pytest.raises(ce_engine.InvalidArgumentError) as raised:
        getattr(ce_engine, loss)(**tensors)
    assert of_the_sdk(loss, arguments) == (raised.value.argument, str(raised.value))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ">f8", ">f2"])
def test_edges_of_probabilities(dtype):
    edges = np.array([0, 1, 0.5, np.finfo(np.float16).smallest_normal, -0.0], dtype)
    assert of_the_plan("binary_cross_entropy", {"input": edges, "target": edges}) is None
    for number in (np.nan, -np.nan, np.inf, -np.inf, -1.0, 1.01, -1e-4):
        wrong = np.array([*edges, number], dtype)
        refusal = of_the_plan("binary_cross_entropy", {"input": wrong, "target": wrong})
        assert refusal is not None
        assert refusal.text == f"input: expected probabilities in [0, 1], got {float(wrong[5])} at element 5"


@pytest.mark.parametrize(("wire_dtype", "got"), [("float32", 1.100000023841858), ("float16", 1.099609375)])
def test_number_is_told_as_it_travels(wire_dtype, got):
    arguments = {"input": np.array([0.5, 1.1]), "target": [1.0, 1.0], "wire_dtype": wire_dtype}
    refusal = of_the_plan("binary_cross_entropy", arguments)
    assert refusal == ("input", f"input: expected probabilities in [0, 1], got {got} at element 1")


def test_integers_have_no_wire_dtype():
    arguments = RIGHT["cross_entropy"] | {"input": np.ones((2, 3), np.int64), "wire_dtype": "bfloat16"}
    refusal = of_the_sdk("cross_entropy", arguments)
    assert refusal is not None
    assert refusal.argument == "input"


@pytest.mark.slow
def test_bfloat16_is_judged_as_float():
    numbers = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    right = (numbers.astype(np.float32) >= 0) & (numbers.astype(np.float32) <= 1)
    for number, is_right in zip(numbers, right, strict=True):
        refusal = of_the_plan("binary_cross_entropy", {"input": number, "target": 0.5})
        assert (refusal is None) == is_right
