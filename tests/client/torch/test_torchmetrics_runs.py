"""Metrics whose sums are a run's."""

import copy
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import MetricCollection

from losswire_client import AsyncClient, Client, InvalidArgumentError
from losswire_client.torchmetrics import BinaryCrossEntropy, CrossEntropy
from tests.helpers import serving
from tests.processes import run as run_program

torch.manual_seed(0)
LOGITS, TARGET = torch.randn(138, 5), torch.randint(5, (138,))
LABELS, WEIGHT = torch.rand(138, 5).round(), torch.rand(5)
SIZES = (100, 0, 7, 31)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory):
    with (
        serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db")) as server,
        Client(f"127.0.0.1:{server.port}", timeout=20) as client,
    ):
        yield client


@pytest.fixture
def name(request) -> str:
    return str(request.node.name).replace("[", "-").replace("]", "")


def close(value):
    return pytest.approx(float(value), rel=1e-6)


def updated(metric, preds, target):
    for number, batch in enumerate(zip(preds.split(SIZES), target.split(SIZES), strict=True)):
        metric.update(*batch, key=str(number))
    return metric


def test_mean_is_that_of_the_run(keeper, name):
    run = keeper.run(name, weight=WEIGHT, ignore_index=2, label_smoothing=0.1)
    metric = updated(CrossEntropy(run=run), LOGITS, TARGET)
    expected = F.cross_entropy(LOGITS, TARGET, WEIGHT, ignore_index=2, label_smoothing=0.1)
    mean = metric.compute()
    assert (mean.dtype, float(mean)) == (torch.float64, close(expected))
    assert float(mean) == run.result().mean


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_run_tells_whether_there_are_logits(keeper, name, loss):
    preds = LOGITS if loss.endswith("logits") else LOGITS.sigmoid()
    run = keeper.run(name, loss=loss, weight=WEIGHT)
    metric = updated(BinaryCrossEntropy(run=run), preds, LABELS.bool())
    assert float(metric.compute()) == close(getattr(F, loss)(preds, LABELS, WEIGHT))


def test_repeated_batches_count_once(keeper, name):
    metric = updated(CrossEntropy(run=keeper.run(name)), LOGITS, TARGET)
    first = metric.compute()
    assert updated(updated(metric, LOGITS, TARGET), LOGITS, TARGET).compute() == first
    metric.reset()
    assert metric.compute() == first


def test_workers_see_what_others_add(keeper, name):
    one, other = (CrossEntropy(run=keeper.run(name)) for _ in range(2))
    assert math.isnan(one.compute())
    one.update(LOGITS[:100], TARGET[:100], key="a")
    assert float(other.compute()) == close(F.cross_entropy(LOGITS[:100], TARGET[:100]))
    other.update(LOGITS[100:], TARGET[100:], key="b", slice="late")
    assert float(one.compute()) == float(other.compute()) == close(F.cross_entropy(LOGITS, TARGET))
    assert list(keeper.get_run(name).result().by_slice) == ["late"]


def test_forward_gives_the_batchs_mean(keeper, name):
    metric = CrossEntropy(run=keeper.run(name))
    for rows in (slice(100), slice(100, 138)):
        mean = metric(LOGITS[rows], TARGET[rows], key=str(rows.start))
        assert float(mean) == close(F.cross_entropy(LOGITS[rows], TARGET[rows]))
    assert float(metric.compute()) == close(F.cross_entropy(LOGITS, TARGET))


def test_collection_passes_keys_on(keeper, name):
    smooth = keeper.run(f"{name}-smooth", label_smoothing=0.2)
    metrics = MetricCollection({"plain": CrossEntropy(run=keeper.run(name)), "smooth": CrossEntropy(run=smooth)})
    computed = updated(metrics, LOGITS, TARGET).compute()
    assert float(computed["plain"]) == close(F.cross_entropy(LOGITS, TARGET))
    assert float(computed["smooth"]) == close(F.cross_entropy(LOGITS, TARGET, label_smoothing=0.2))


def test_copies_and_pickles_have_the_run(keeper, name):
    metric = CrossEntropy(run=keeper.run(name))
    copies = [metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric]
    for number, copied in enumerate(copies):
        rows = slice(number * 30, number * 30 + 30)
        copied.update(LOGITS[rows], TARGET[rows], key=str(number))
    assert [float(copied.compute()) for copied in copies] == [close(F.cross_entropy(LOGITS[:120], TARGET[:120]))] * 4


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("weight", {"weight": WEIGHT}),
        ("ignore_index", {"ignore_index": 2}),
        ("label_smoothing", {"label_smoothing": 0.1}),
        ("label_smoothing", {"label_smoothing": WEIGHT}),
        ("ignore_index", {"ignore_index": TARGET}),
        ("client", {"client": Client("localhost:1")}),
    ],
)
def test_arguments_beside_a_run_are_refused(keeper, name, argument, options):
    run = keeper.run(name)
    with pytest.raises(InvalidArgumentError, match="beside a run") as raised:
        CrossEntropy(run=run, **options)
    assert raised.value.argument == argument


def test_run_of_another_loss_is_refused(keeper, name):
    runs = {loss: keeper.run(f"{name}-{loss}", loss=loss) for loss in ("nll_loss", "binary_cross_entropy_with_logits")}
    with pytest.raises(InvalidArgumentError, match=r"^run: expected a run of cross_entropy, got one of nll_loss$"):
        CrossEntropy(run=runs["nll_loss"])
    with pytest.raises(InvalidArgumentError, match=r"^run: expected a run of binary_cross_entropy, got"):
        BinaryCrossEntropy(run=runs["binary_cross_entropy_with_logits"], from_logits=False)
    with pytest.raises(InvalidArgumentError, match=r"^run: expected a Run or None, got a str$"):
        CrossEntropy(run="val")  # type: ignore[arg-type]
    opening: object = AsyncClient("localhost").run("val")
    with pytest.raises(InvalidArgumentError, match=r"^run: expected a Run or None, got a Opening$"):
        CrossEntropy(run=opening)  # type: ignore[arg-type]


def test_keys_and_runs_go_together(keeper, name):
    with pytest.raises(InvalidArgumentError, match=r"^key: expected a name for this part"):
        CrossEntropy(run=keeper.run(name)).update(LOGITS, TARGET)
    with pytest.raises(InvalidArgumentError, match=r"^key: expected none for a metric without a run"):
        CrossEntropy(client=keeper).update(LOGITS, TARGET, key="a")
    with pytest.raises(InvalidArgumentError, match=r"^slice: expected none for a metric without a run, got 'web'$"):
        CrossEntropy(client=keeper).update(LOGITS, TARGET, slice="web")
    with pytest.raises(InvalidArgumentError, match=r"^preds: "):
        CrossEntropy(run=keeper.run(name)).update(LOGITS.long(), TARGET, key="a")


WORKER = """
import sys, torch
from torch import distributed
from losswire_client import Client
from losswire_client.torchmetrics import CrossEntropy

_, target, name, rendezvous, rank = sys.argv
distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=int(rank), world_size=2)
with Client(target) as client, client.run(name) as run:
    metric = CrossEntropy(run=run)
    for key in range(int(rank), 3, 2):  # so that they make different numbers of calls
        metric.update(torch.randn(9 + key, 3), torch.zeros(9 + key, dtype=torch.int64), key=str(key))
        metric.compute()  # waits for nobody
"""


@pytest.mark.slow
def test_workers_wait_for_nobody(keeper, name, tmp_path):
    command = [sys.executable, "-c", WORKER, keeper.target, name, str(tmp_path / "rendezvous")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda rank: run_program([*command, rank], check=True, stdout=subprocess.PIPE), "01"))
    assert keeper.get_run(name).finish(["0", "1", "2"]).row_count == 30
