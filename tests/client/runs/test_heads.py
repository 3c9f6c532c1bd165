"""Runs of losses of hidden states and of divergences."""

import asyncio
import pickle

import numpy as np
import pytest

from losswire_client import AsyncClient, Client, ConflictError, Head, InvalidArgumentError
from tests.helpers import serving

RNG = np.random.default_rng(0)
HEAD = Head(RNG.standard_normal((30, 8)).astype(np.float32))
HIDDEN, CLASSES = RNG.standard_normal((40, 8)).astype(np.float32), RNG.integers(0, 30, 40)
LOGITS, TEACHER = RNG.standard_normal((2, 40, 30)).astype(np.float32)
HALVES = {"a": slice(0, 15), "b": slice(15, 40)}


@pytest.fixture(scope="module")
def keeper(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "runs.sqlite"
    with serving(runs=f"sqlite:///{path}", allow_head_registration=True) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def client(keeper):
    with Client(keeper) as connected:
        yield connected


def test_run_of_hidden_states_names_the_head_by_its_digest(client):
    client.register_head(HEAD, "mine")
    run = client.run("hidden", loss="linear_cross_entropy", head="mine", z_loss=0.1)
    assert run.options["head"] == HEAD.digest
    assert client.run("hidden", loss="linear_cross_entropy", head=HEAD, z_loss=0.1).digest == run.digest
    with pytest.raises(ConflictError) as raised:
        client.run("hidden", loss="linear_cross_entropy", head=HEAD, z_loss=0.2)
    assert raised.value.argument == "z_loss"


def test_totals_of_hidden_states_are_those_of_one_batch(client):
    run = client.run("totals", loss="linear_cross_entropy", head=HEAD)
    for key, rows in HALVES.items():
        run.linear_cross_entropy(HIDDEN[rows], CLASSES[rows], key=key)
    whole = client.linear_cross_entropy(HIDDEN, HEAD, CLASSES, exact=True, outputs=["predictions"])
    assert run.finish(["a", "b"]).sums == whole.exact


def test_run_registers_its_head_where_it_is_missing(client):
    run = client.run("missing", loss="linear_cross_entropy", head=HEAD)
    for key, rows in HALVES.items():
        client.delete_head(HEAD)
        run.evaluate(HIDDEN[rows], CLASSES[rows], key=key)
    assert run.progress().key_count == 2


def test_pickled_run_names_its_head_and_does_not_contain_it(client):
    run = client.run("pickled", loss="linear_cross_entropy", head=HEAD)
    data = pickle.dumps(run)
    assert len(data) < HEAD.nbytes * 2
    client.register_head(HEAD)
    assert pickle.loads(data).evaluate(HIDDEN, CLASSES, key="a").row_count == 40


def test_run_of_divergences_tells_changes_and_quantiles(client):
    run = client.run("divergences", loss="kl_divergence", temperature=2.0)
    for key, rows in HALVES.items():
        run.kl_divergence(LOGITS[rows], TEACHER[rows], labels=CLASSES[rows], key=key)
    result, whole = (
        run.finish(["a", "b"]),
        client.kl_divergence(
            LOGITS, TEACHER, temperature=2.0, labels=CLASSES, exact=True, outputs=["predictions"], reduction="none"
        ),
    )
    assert result.sums == whole.exact
    assert result.mean_change is not None
    assert result.mean_change == whole.exact.mean_change
    for part in (0.0, 0.5, 0.9, 1.0):
        assert result.quantile(part) == pytest.approx(np.quantile(whole.loss, part, method="lower"), rel=0.0101)
    error = np.std(whole.loss.astype(np.float64), ddof=1) / np.sqrt(len(whole.loss))
    assert result.standard_error == pytest.approx(error, rel=1e-9)
    assert result.accuracy == float((LOGITS.argmax(1) == TEACHER.argmax(1)).mean())
    text = str(result)
    assert "quantiles   50%" in text
    assert "change  " in text
    assert "perplexity" not in text


def test_run_without_labels_has_no_changes(client):
    run = client.run("unlabelled", loss="kl_divergence", divergence="reverse")
    run.evaluate(LOGITS, TEACHER, key="a")
    assert run.options["divergence"] == "reverse"
    assert run.result().mean_change is None
    assert run.result().quantile(1.0) > 0


def test_run_of_some_classes(client):
    classes = np.argsort(-TEACHER, -1)[:, :4]
    target = np.log(np.full((40, 4), 0.25, np.float32))
    run = client.run("some", loss="kl_divergence", tail="renormalize")
    result = run.kl_divergence(LOGITS, target, target_classes=classes, key="a")
    assert result.loss_sum == pytest.approx(run.result().loss_sum)


def test_awaited_run_has_heads_too(keeper):
    async def add():
        async with AsyncClient(keeper) as client:
            run = await client.run("awaited", loss="linear_cross_entropy", head=HEAD)
            await run.linear_cross_entropy(HIDDEN, CLASSES, key="a")
            return await run.finish(["a"])

    assert asyncio.run(add()).row_count == 40


def test_head_of_a_run_is_no_argument_of_its_evaluations(client):
    run = client.run("fixed", loss="linear_cross_entropy", head=HEAD)
    with pytest.raises(InvalidArgumentError, match="head: expected no such argument, since the run has it"):
        run.evaluate(HIDDEN, CLASSES, key="a", head=HEAD)
    with pytest.raises(InvalidArgumentError, match="labels: expected none for linear_cross_entropy"):
        run.evaluate(HIDDEN, CLASSES, key="a", labels=CLASSES)
    with pytest.raises(InvalidArgumentError, match="head: expected a Head, or digest or alias"):
        client.run("other", loss="linear_cross_entropy")
