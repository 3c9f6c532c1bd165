"""Means over batches and workers of any size are exact, compared with float64 over all rows at once."""

import copy
import itertools
import json
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import MetricCollection

import losswire_client.torchmetrics
from losswire_client import Client, InvalidArgumentError, Result
from losswire_client.torch import set_default_client
from losswire_client.torchmetrics import BinaryCrossEntropy, CrossEntropy
from tests.present import present
from tests.processes import run

WORKER = Path(__file__).parent / "metric_worker.py"
SIZES = (100, 0, 7, 31)  # of the batches

torch.manual_seed(0)
LOGITS, TARGET = torch.randn(sum(SIZES), 5, dtype=torch.float64), torch.randint(5, (sum(SIZES),))
LABELS, WEIGHT = torch.rand(sum(SIZES), 5, dtype=torch.float64).round(), torch.rand(5, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _default_client(client):
    set_default_client(client)
    yield
    set_default_client(None)


def mean_over_batches(metric, preds, target):
    for batch in zip(preds.split(SIZES), target.split(SIZES), strict=True):
        metric.update(*batch)
    return metric.compute()


def close(value):
    return pytest.approx(float(value), rel=1e-14)


def test_face_of_the_module_is_what_it_was():
    assert losswire_client.torchmetrics.__all__ == ["BinaryCrossEntropy", "CrossEntropy"]


@pytest.mark.parametrize("labels", [TARGET, LOGITS.flip(0).softmax(1)], ids=["classes", "probabilities"])
def test_mean_is_exact_for_every_option(labels):
    ignored = (-100,) if labels.is_floating_point() else (-100, 2)
    for weight, ignore_index, smoothing in itertools.product((None, WEIGHT), ignored, (0.0, 0.1)):
        mean = mean_over_batches(CrossEntropy(weight, ignore_index, smoothing), LOGITS, labels)
        expected = F.cross_entropy(LOGITS, labels, weight, ignore_index=ignore_index, label_smoothing=smoothing)
        assert mean.dtype == torch.float64
        assert float(mean) == close(expected)


@pytest.mark.parametrize("labels", [LABELS, LABELS.long(), LABELS.bool()], ids=["floating", "integer", "bool"])
def test_binary_mean_is_exact(labels):
    expected = F.binary_cross_entropy_with_logits(LOGITS, LABELS, WEIGHT, pos_weight=WEIGHT.flip(0))
    metric = BinaryCrossEntropy(WEIGHT, WEIGHT.flip(0))
    assert float(mean_over_batches(metric, LOGITS, labels)) == close(expected)
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), LABELS, WEIGHT)
    metric = BinaryCrossEntropy(WEIGHT, from_logits=False)
    assert float(mean_over_batches(metric, LOGITS.sigmoid(), labels)) == close(expected)


def test_mean_is_nan_when_nothing_counted():
    metric = CrossEntropy()
    metric.update(LOGITS[:0], TARGET[:0])
    metric.update(LOGITS, torch.full_like(TARGET, -100))
    assert math.isnan(metric.compute())


def test_forward_gives_the_batchs_mean():
    metric = CrossEntropy()
    for rows in (slice(100), slice(100, 138)):
        assert float(metric(LOGITS[rows], TARGET[rows])) == close(F.cross_entropy(LOGITS[rows], TARGET[rows]))
    assert float(metric.compute()) == close(F.cross_entropy(LOGITS, TARGET))
    metric.reset()
    assert (float(metric.loss_sum), float(metric.weight_sum)) == (0, 0)


class Recorder(Client):
    """Keeps its arguments and results."""

    calls: tuple[tuple[dict[str, Any], Result], ...] = ()

    def cross_entropy(self, *args, **options):
        result = super().cross_entropy(*args, **options)
        self.calls = (*self.calls, (options, result))
        return result


def test_batch_is_one_call_without_gradient(target):
    with Recorder(target) as client:
        CrossEntropy(client=client)(LOGITS.clone().requires_grad_(), TARGET)
    ((options, result),) = client.calls
    assert options["reduction"] == "sum"
    assert result.grad is None


def test_collection_keeps_metrics_apart():
    """Also metrics that agree on the first batch. torchmetrics would merge them."""
    metrics = MetricCollection({"all": CrossEntropy(), "some": CrossEntropy(ignore_index=0)})
    for rows in (TARGET[:0], (TARGET > 0).nonzero()[:, 0], (TARGET == 0).nonzero()[:, 0]):
        metrics.update(LOGITS[rows], TARGET[rows])
    computed = metrics.compute()
    assert float(computed["all"]) == close(F.cross_entropy(LOGITS, TARGET))
    assert float(computed["some"]) == close(F.cross_entropy(LOGITS, TARGET, ignore_index=0))


@pytest.mark.parametrize(
    "cast", [lambda m: m.half(), lambda m: m.to(torch.bfloat16), lambda m: torch.nn.ModuleList([m]).half()[0]]
)
def test_sums_stay_float64_in_a_model(cast):
    metric = CrossEntropy(WEIGHT)
    metric.update(LOGITS, TARGET)
    before = metric.loss_sum.clone()
    metric = cast(metric)
    assert metric.loss_sum.dtype == metric.weight_sum.dtype == metric.weight.dtype == torch.float64
    assert torch.equal(metric.loss_sum, before)
    metric.reset()
    assert metric.loss_sum.dtype == torch.float64


def test_sums_change_dtype_if_set():
    metric = CrossEntropy().set_dtype(torch.float32)
    metric.update(LOGITS, TARGET)
    assert metric.compute().dtype == torch.float32


def test_metric_moves_between_devices():
    metric = CrossEntropy(WEIGHT).to("meta")
    assert metric.weight_sum.is_meta
    assert present(metric.weight).is_meta


def test_options_are_no_state():
    assert not BinaryCrossEntropy(WEIGHT, WEIGHT).state_dict()


def test_copies_and_pickles_have_the_client(target):
    set_default_client(Client("127.0.0.1:1"))  # there is no server
    metric = CrossEntropy(WEIGHT, client=Client(target))
    metric.update(LOGITS[:100], TARGET[:100])
    for copied in (metric.clone(), copy.deepcopy(metric)):
        copied.update(LOGITS[100:], TARGET[100:])
        assert float(copied.compute()) == close(F.cross_entropy(LOGITS, TARGET, WEIGHT))
    loaded = pickle.loads(pickle.dumps(metric))
    loaded.update(LOGITS[100:], TARGET[100:])
    assert float(loaded.compute()) == close(F.cross_entropy(LOGITS, TARGET, WEIGHT))


def test_wrong_argument_has_its_name_here():
    with pytest.raises(InvalidArgumentError, match=r"^preds: expected one of the dtypes .*, got int64") as raised:
        CrossEntropy().update(LOGITS.long(), TARGET)
    assert raised.value.argument == "preds"
    with pytest.raises(InvalidArgumentError, match=r"^target: expected classes in \[0, 5\)"):
        CrossEntropy().update(LOGITS, TARGET + 5)
    with pytest.raises(InvalidArgumentError, match=r"^preds: expected .*\[0, 1\]"):
        BinaryCrossEntropy(from_logits=False).update(LOGITS, LABELS)
    with pytest.raises(InvalidArgumentError, match=r"^pos_weight: expected None for probabilities"):
        BinaryCrossEntropy(pos_weight=WEIGHT, from_logits=False)
    with pytest.raises(InvalidArgumentError, match=r"^client: expected a Client or None"):
        CrossEntropy(client="localhost:50051")  # type: ignore[arg-type]


@pytest.mark.slow
def test_mean_is_over_all_processes(target, tmp_path):
    """The mean is over all rows, whatever their shards."""
    data = tmp_path / "data.pt"
    torch.save([(LOGITS.split(sizes), TARGET.split(sizes)) for sizes in ((131, 7), (138, 0))], data)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda rank: worker(target, data, tmp_path / "rendezvous", rank), range(2)))
    assert [len(answer) for answer in answers] == [2, 2]
    for mean, weight_sum in answers[0] + answers[1]:
        assert mean == close(F.cross_entropy(LOGITS, TARGET, ignore_index=2))
        assert weight_sum == float((TARGET != 2).sum())


def worker(*arguments):
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return json.loads(run(command, check=True, stdout=subprocess.PIPE).stdout)
