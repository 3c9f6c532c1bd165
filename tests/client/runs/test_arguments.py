"""What runs refuse before they send anything, and how they say it."""

import numpy as np
import pytest

from losswire_client import InvalidArgumentError
from tests.client.runs.batches import LOGITS, TARGET


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("loss", {"loss": "mse_loss"}),
        ("by_class", {"by_class": "yes"}),
        ("labels", {"labels": {"model": 3}}),
        ("labels", {"labels": 3}),
        ("labels", {"labels": np.zeros((2, 3))}),  # it is neither true nor false
        ("expected_keys", {"expected_keys": "many"}),
        ("expected_keys", {"expected_keys": 2**70}),
        ("expected_keys", {"expected_keys": -1}),
        ("accuracy", {"accuracy": 1}),
        ("series", {"series": 3}),
        ("weight", {"weight": "balanced"}),
        ("weight", {"weight": np.array(["a"])}),
        ("weight", {"weight": np.zeros(3, complex)}),
        ("weight", {"weight": np.ones((2, 3))}),  # which no batch could have
        ("label_smoothing", {"label_smoothing": "much"}),
        ("ignore_index", {"ignore_index": 0.5}),
        ("timeout", {"timeout": 0}),
    ],
)
def test_wrong_argument_of_a_run_is_named(keeper, name, argument, options):
    with pytest.raises(InvalidArgumentError, match=f"^{argument}: ") as raised:
        keeper.run(name, **options)
    assert raised.value.argument == argument


def test_weights_that_hang_on_the_batch_are_refused(keeper, name):
    with pytest.raises(InvalidArgumentError, match="the same for all of its batches: pass the array"):
        keeper.run(name, weight="complement")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smooth": 0.1}, "'label_smooth'; did you mean 'label_smoothing'?"),
        ({"expected": 3}, "'expected'; did you mean 'expected_keys'?"),
        ({"loss": "nll_loss", "label_smoothing": 0.1}, "'label_smoothing'"),
        ({"pos_weight": np.ones(3)}, "'pos_weight'; did you mean 'weight'?"),
    ],
)
def test_option_that_the_loss_lacks_is_refused(keeper, name, options, message):
    with pytest.raises(TypeError) as raised:
        keeper.run(name, **options)
    assert str(raised.value) == f"Client.run() got an unexpected keyword argument {message}"


@pytest.mark.parametrize("option", ["weight", "ignore_index", "label_smoothing", "pos_weight"])
def test_options_of_the_run_are_no_arguments(keeper, name, option):
    run = keeper.run(name)
    for method in (run.cross_entropy, run.evaluate):
        with pytest.raises(InvalidArgumentError, match="since the run has it") as raised:
            method(LOGITS, TARGET, key="a", **{option: None})
        assert raised.value.argument == option


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Run.evaluate() missing 1 required keyword-only argument: 'key'"),
        (
            {"key": "a", "slise": "b"},
            "Run.evaluate() got an unexpected keyword argument 'slise'; did you mean 'slice'?",
        ),
        ({"key": ""}, "key: expected a name for this part of the data, got an empty one"),
        ({"key": 3}, "key: expected a text, got 3"),
        ({"key": "\ud800"}, "key: expected a text, got '\\ud800'"),
        ({"key": "a", "slice": None}, "slice: expected a text, got None"),
        ({"key": "a", "reduction": "max"}, "reduction: expected one of 'none', 'mean', 'sum', got 'max'"),
        ({"key": "a", "exact": "rows"}, "exact: expected one of False, True, 'by_class', got 'rows'"),
        (
            {"key": "a", "outputs": "predictions"},
            "outputs: expected a collection of names, as in ('predictions',), got 'predictions'",
        ),
    ],
)
def test_wrong_argument_of_an_evaluation_is_named(keeper, name, options, message):
    run = keeper.run(name)
    with pytest.raises(InvalidArgumentError) as raised:
        run.evaluate(LOGITS, TARGET, **options)
    assert str(raised.value) == message
    assert run.progress().key_count == 0


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("keys", lambda run: run.missing("shard-1")),
        ("keys", lambda run: run.missing(3)),
        ("keys", lambda run: run.missing(["a", 3])),
        ("keys", lambda run: run.missing(["\ud800"])),
        ("keys", lambda run: run.finish("shard-1")),
        ("count", lambda run: run.finish(["a"], 1)),
        ("count", lambda run: run.finish(count="one")),
        ("count", lambda run: run.finish(count=-1)),
        ("keys", lambda run: run.finish()),
        ("prefix", lambda run: next(run.client.runs("\0"))),
        ("prefix", lambda run: run.client.runs(3)),  # at once, and not when the first one is asked for
        ("slice", lambda run: run.keys(3)),
        ("timeout", lambda run: run.result(timeout=-1)),
    ],
)
def test_wrong_argument_of_a_question_is_named(keeper, name, argument, call):
    with pytest.raises(InvalidArgumentError) as raised:
        call(keeper.run(name))
    assert raised.value.argument == argument


@pytest.mark.parametrize(
    "interval", ["often", None, -1, 0, 0.05, 3601, pytest.param(10**400, id="huge"), float("nan"), float("inf")]
)
def test_wrong_interval_is_named(keeper, name, interval):
    with pytest.raises(InvalidArgumentError, match=r"^interval: expected a number of seconds from 0\.1 to 3600, got"):
        keeper.run(name).watch(interval)


@pytest.mark.parametrize("value", [3, None, b"val", ["val"], "\ud800"])
@pytest.mark.parametrize("method", ["run", "get_run", "runs"])
def test_names_are_texts(keeper, method, value):
    with pytest.raises(InvalidArgumentError, match="expected a text, got"):
        list(getattr(keeper, method)(value))


@pytest.mark.parametrize("argument", ["key", "slice"])
def test_bytes_are_no_texts(keeper, name, argument):
    with pytest.raises(InvalidArgumentError, match=f"^{argument}: expected a text, got b'a'$"):
        keeper.run(name).evaluate(LOGITS, TARGET, **{"key": "a", argument: b"a"})
