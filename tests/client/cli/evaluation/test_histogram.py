from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from losswire_client import Result
from losswire_client._readers._batches import PlacedBatch, Positions
from losswire_client.cli.evaluation import Outcome, Plan, save_picture
from losswire_client.cli.evaluation._run import FileOutcome
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._histogram import LossHistogram
from losswire_client.cli.evaluation.tallies._tallies import Tallies

IGNORED = -100
LOSSES = np.random.default_rng(0).gamma(2, size=20_000).astype(np.float32)


def evaluated(losses, target=None):
    losses = np.asarray(losses)
    target = np.zeros(losses.shape, np.int64) if target is None else target
    dataset: Any = SimpleNamespace(path=Path("rows.npz"), file_rows=len(losses))
    batch = PlacedBatch(losses, target, Positions(0), Positions(0))
    result = Result(losses, float(np.sum(losses)), losses.size, losses.size, 0)
    return Evaluated.of(dataset, batch, result, Plan())


def histogram_of(*batches, target=None):
    histogram = LossHistogram()
    for losses in batches:
        histogram.add(evaluated(losses, target))
    return histogram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_counts_are_exact_to_a_thousandth(scale, dtype):
    losses = LOSSES.astype(dtype) * dtype(scale)
    edges = np.linspace(0, losses.max() * 1.01, 50)
    counts = np.diff(histogram_of(*np.split(losses, 4)).count_below(edges))
    np.testing.assert_allclose(counts, np.histogram(losses, edges)[0], atol=10)
    assert counts.sum() == pytest.approx(len(losses))


@pytest.mark.parametrize("losses", [LOSSES, -LOSSES, LOSSES - 1, LOSSES * 0, [3.0]])
def test_quantiles_exact_to_a_thousandth(losses):
    histogram = histogram_of(losses)
    for q in (0, 0.1, 0.5, 0.999, 1):
        expected = np.quantile(losses, q, method="inverted_cdf")
        assert histogram.quantile(q) == pytest.approx(expected, rel=2e-3, abs=1e-30)


def test_losses_not_finite_are_apart():
    histogram = histogram_of([1.0, np.nan, np.inf, -np.inf, 2.0, 1e300])
    assert (histogram.finite_count, histogram.nonfinite_count) == (2, 4)
    assert histogram.quantile(1) == pytest.approx(2, rel=2e-3)


def test_ignored_rows_are_not_counted():
    assert histogram_of(LOSSES[:3], target=np.array([0, IGNORED, 1])).finite_count == 2


def test_dimensions_beside_rows_are_rows_too():
    assert histogram_of(LOSSES.reshape(100, 200)).finite_count == len(LOSSES)


def picture(path, losses):
    tallies = Tallies(histogram=LossHistogram())
    tallies.add(evaluated(losses))
    outcome = FileOutcome(Path("rows.npz"), "logits", with_logarithm=False, tallies=tallies)
    save_picture(Outcome(files=[outcome], total=tallies), Plan(), path)
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_picture_is_drawn_in_each_format(suffix, start, tmp_path):
    assert picture(tmp_path / f"losses{suffix}", LOSSES).startswith(start)


def words(path, losses):
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):  # text as text, not as outlines
        return picture(path, losses).decode()


def test_picture_names_axes_and_averages(tmp_path):
    svg = words(tmp_path / "losses.svg", LOSSES)
    for text in (
        "loss of a row, nats",
        ">rows<",
        "cross_entropy of rows.npz",
        f"mean {LOSSES.mean():.4g}",
        "median 1.6",
    ):
        assert text in svg


def test_picture_tells_what_it_leaves_out(tmp_path):
    svg = words(tmp_path / "losses.svg", np.append(LOSSES, [np.nan, 1e6, 1e6]))
    assert "1 NaN or infinite" in svg
    assert "beyond, up to 1e+06" in svg


@pytest.mark.parametrize("losses", [[], [np.nan], [2.5], [0.0, 0.0], [-1e30, 1e30]])
def test_picture_of_odd_losses_is_drawn(losses, tmp_path):
    assert picture(tmp_path / "losses.svg", np.asarray(losses))


def test_picture_is_the_same_again(tmp_path):
    assert picture(tmp_path / "a.svg", LOSSES) == picture(tmp_path / "b.svg", LOSSES)
