"""Runs of hidden states name a head by its digest; those of divergences add up changes and sketches too."""

from itertools import count
from typing import Any

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.heads.content import digest
from losswire.losses import DIVERGENCES
from losswire.tensors import decode
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import serving
from tests.server.calls.heads.served import CLASSES, MEAN, heads_of, hold, message_of, states
from tests.server.calls.raw_streams import Batch, answers
from tests.server.calls.runs.keyed import create, totals
from tests.server.requests.stream_requests import divergence

HEAD = message_of()
NUMBERS = count()
SPEC = v1.LossSpec(reduction=MEAN, linear_cross_entropy=v1.LinearCrossEntropy(head=digest(HEAD)))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db")) as server:
        hold(server, HEAD, "alias")
        yield server


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected


@pytest.fixture
def losses(channel) -> Any:
    return loss_service_pb2_grpc.LossServiceStub(channel)


@pytest.fixture
def runs(channel) -> Any:
    return run_service_pb2_grpc.RunServiceStub(channel)


@pytest.fixture
def name() -> str:
    return f"run-{next(NUMBERS)}"


def spec_of(head: str) -> v1.LossSpec:
    return v1.LossSpec(reduction=MEAN, linear_cross_entropy=v1.LinearCrossEntropy(head=head))


def keyed(batch: Batch, run: str, key: str, **exact: Any) -> Batch:
    batch.request.run_key.MergeFrom(v1.RunKey(run=run, key=key))
    batch.request.exact.MergeFrom(v1.ExactSpec(**exact))
    return batch


def test_run_of_an_alias_is_one_of_the_digest(runs, name):
    run = create(runs, name, spec=spec_of("alias"))
    assert run.spec.linear_cross_entropy.head == digest(HEAD)
    assert create(runs, name, spec=spec_of(digest(HEAD))).spec_digest == run.spec_digest


def test_run_needs_no_head_that_is_held(runs, name):
    assert create(runs, name, spec=spec_of("1" * 64)).spec.linear_cross_entropy.head == "1" * 64


def test_run_of_an_unknown_alias_is_refused(runs, name):
    with pytest.raises(grpc.RpcError) as error:
        create(runs, name, spec=spec_of("nobody"))
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_keys_of_all_ways_count(runs, losses, channel, name):
    create(runs, name, spec=spec_of("alias"), by_class=True)
    whole = losses.Evaluate(keyed(states("alias"), name, "unary", by_class=True).request)
    pack = [keyed(states(digest(HEAD)), name, "pack", by_class=True).request]
    losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=pack))
    stream = keyed(states("alias"), name, "stream", by_class=True)
    answers(channel, [stream.header(), *stream.slabs(7)])
    run = runs.GetRun(v1.GetRunRequest(name=name)).run
    assert (run.totals.key_count, run.totals.statistics.row_count) == (3, 180)
    assert run.totals.statistics.loss_sum == pytest.approx(3 * whole.loss_sum, rel=1e-6)
    assert len(run.classes) <= CLASSES


def test_other_head_is_another_loss(server, runs, losses, name):
    create(runs, name, spec=spec_of("alias"))
    other = hold(server, message_of(seed=5), "other")
    with pytest.raises(grpc.RpcError, match="the loss and options of the run"):
        losses.Evaluate(keyed(states("other"), name, "k").request)
    heads_of(server).delete(other)


def test_divisor_is_no_part_of_a_run(runs, losses, name):
    create(runs, name, spec=SPEC)
    batch = keyed(states("alias", reduction=MEAN, divisor=3.0), name, "k")
    assert losses.Evaluate(batch.request).exact.row_count == 60
    assert totals(runs, name).row_count == 60


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_changes_and_sketches_are_added_up(runs, losses, channel, name, kind):
    of_kind: dict[str, Any] = {"labelled": True, "divergence": DIVERGENCES[kind]}
    first = divergence(**of_kind)
    create(runs, name, spec=first.request.spec)
    answer = losses.Evaluate(keyed(first, name, "unary").request)
    stream = keyed(divergence(**of_kind), name, "stream")
    summary: Any = answers(channel, [stream.header(), *stream.slabs(7)])[-1]
    assert summary.exact == answer.exact
    total = totals(runs, name)
    assert total.sketch is not None
    assert total.sketch.count == total.row_count == 2 * answer.exact.row_count
    assert total.mean_change is not None
    assert total.mean_change.mean == pytest.approx(_mean_change(first))


def test_run_without_labels_has_no_change(runs, losses, name):
    batch = divergence()
    create(runs, name, spec=batch.request.spec)
    losses.Evaluate(keyed(batch, name, "k").request)
    total = totals(runs, name)
    assert (total.change, total.change_squared) == (None, None)
    assert total.sketch is not None


def _mean_change(batch: Batch) -> float:
    request = batch.request
    x, target, labels = (decode(getattr(request, name), name) for name in ("input", "target", "labels"))
    q, p = (y - np.log(np.exp(y).sum(-1, keepdims=True)) for y in (x.astype(np.float64), target.astype(np.float64)))
    rows = np.flatnonzero(labels != -1)
    return float((q - p)[rows, labels[rows]].mean())
