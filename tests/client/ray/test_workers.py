"""What a worker does, in this process."""

import pickle

import numpy as np
import pytest

from losswire_client import Client, ConflictError, InvalidArgumentError, UnavailableError
from losswire_client._keys import Terms
from losswire_client.ray._files import files_of
from losswire_client.ray._parts import Names, parts_of
from losswire_client.ray._workers import GroupEvaluator, PartEvaluator
from tests.client.ray.datasets import BLOCK_ROWS, DOMAIN, KEYS, LOGITS, TARGET, bare, save, slices_of, whole


def parts(folder):
    return [part for file in files_of(folder, folder) for part in parts_of(file, Names(), Terms(BLOCK_ROWS))]


def evaluated(run, parts):
    """The answers of a worker that was sent the parts."""
    evaluate = PartEvaluator(pickle.loads(pickle.dumps(run)))
    return [evaluate({"value": pickle.dumps(part)}) for part in parts]


def group(**others):
    return {"shard": np.array(["s"] * len(TARGET), object), "logits": LOGITS, "target": TARGET, **others}


def answers(run, rows, **names):
    return GroupEvaluator(run, "shard", Names("logits", "target", **names))(rows)


def test_parts_add_up(keeper, name, tmp_path):
    run, found = keeper.run(name), parts(save(tmp_path))
    evaluated(run, found)
    assert run.finish(key for _, keys in found for key in keys).sums == whole(keeper)
    assert bare(slices_of(run)) == KEYS


def test_part_that_was_begun_is_not_evaluated_again(relay, name, tmp_path):
    with Client(relay.target) as client:
        run = client.run(name)
        found = parts(save(tmp_path))
        evaluated(run, found)
        sent = len(relay.transports)
        evaluated(run, [*found, *found])
        assert (len(relay.transports), sent) == (6, 6)


def test_other_data_under_a_key_is_a_conflict_that_names_it(keeper, name, tmp_path):
    run, (key,) = keeper.run(name), parts(save(tmp_path))[1][1]
    run.evaluate(LOGITS[:5], TARGET[:5], key=key)
    with pytest.raises(ConflictError) as told:
        run.evaluate(LOGITS, TARGET, key=key)
    (error,) = answers(run, {**group(), "shard": np.array([key] * len(TARGET), object)})["error"]
    assert str(pickle.loads(error)) == f"{key}: {told.value}"


def test_block_that_is_there_no_more_is_told(keeper, name, tmp_path):
    part, keys = parts(save(tmp_path))[0]
    (answer,) = evaluated(keeper.run(name), [(part, [*keys, "absent"])])
    assert "has changed since the job began: absent" in str(pickle.loads(answer["error"]))


def test_what_may_pass_is_left_to_ray(keeper, name, tmp_path):
    run = keeper.run(name)
    away = Client("127.0.0.1:9", retry=None)
    run.__setstate__((away, *run.__getstate__()[1:]))
    with pytest.raises(UnavailableError):
        evaluated(run, parts(save(tmp_path))[:1])


def test_groups_add_up(keeper, name):
    run = keeper.run(name)
    assert answers(run, group()) == {"value": [b"s"], "error": [b""]}
    assert run.finish(["s"]).sums == whole(keeper)


def test_slices_of_a_group_are_keys(keeper, name):
    run = keeper.run(name)
    assert answers(run, group(domain=DOMAIN.astype(object)), slice="domain")["value"] == [b"s:books", b"s:web"]
    assert slices_of(run) == {"s:books": "books", "s:web": "web"}


def test_lists_of_a_group_become_arrays(keeper, name):
    run, lists = keeper.run(name), np.empty(len(LOGITS), object)
    lists[:] = list(LOGITS)
    assert answers(run, group(logits=lists))["error"] == [b""]
    assert run.result().sums == whole(keeper)


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"logits": np.array([None, [1.0]], object)}, "data: s: logits has a row without a value"),
        ({"logits": np.array([np.ones(2), np.ones(3)], object)}, "data: s: logits has rows of several shapes"),
        ({"shard": np.array([0.5, 0.5])}, r"key: expected texts or integers in shard, .*0\.5"),
        ({"shard": np.array([None, None], object)}, "key: expected texts or integers in shard, .*None"),
    ],
)
def test_wrong_rows_are_refused(keeper, name, others, problem):
    rows = {column: values[:2] for column, values in group().items()} | others
    (error,) = answers(keeper.run(name), rows)["error"]
    with pytest.raises(InvalidArgumentError, match=f"^{problem}"):
        raise pickle.loads(error)
