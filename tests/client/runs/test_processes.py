"""Runs that go to other processes."""

import asyncio
import copy
import pickle
import sys

import numpy as np

from losswire_client import AsyncClient
from tests.client.runs.batches import LOGITS, TARGET, WEIGHT, shards
from tests.processes import run as run_program

PROGRAM = """
import pickle, sys
import numpy as np
run, shards = pickle.load(sys.stdin.buffer)
with run.client:
    print([run.evaluate(*shard, key=key).was_counted for key, shard in shards.items()])
"""


def test_pickled_run_counts_in_another_process(keeper, name):
    run = keeper.run(name, weight=WEIGHT, by_class=True)
    run.evaluate(*shards()["shard-1"], key="shard-1")
    given = pickle.dumps((run, shards()))
    done = run_program([sys.executable, "-c", PROGRAM], input=given, capture_output=True, check=True)
    assert done.stdout.split() == [b"[False,", b"True,", b"False,", b"False,", b"False]"]
    assert run.finish(shards()).key_count == 5


def test_what_a_run_was_told_goes_along(keeper, name):
    run = keeper.run(name, weight=WEIGHT, labels={"a": "b"}, accuracy=False)
    for again in (pickle.loads(pickle.dumps(run)), copy.copy(run), copy.deepcopy(run)):
        assert repr(again) == repr(run)
        assert (again.digest, again.labels) == (run.digest, {"a": "b"})
        np.testing.assert_array_equal(again.options["weight"], WEIGHT)
        assert again.evaluate(LOGITS, TARGET, key="a").correct_count is None


def test_pickled_run_is_small(keeper, name):
    run = keeper.run(name, by_class=True)
    before = len(pickle.dumps(run))
    for key, shard in shards().items():
        run.evaluate(*shard, key=key, slice=key)
    assert len(pickle.dumps(keeper.get_run(name))) <= before + 10


def test_pickled_async_run_works(keeping, name):
    async def count():
        async with AsyncClient(keeping) as client:
            pickled = pickle.dumps(await client.run(name))
        run = pickle.loads(pickled)
        async with run.client:
            await run.evaluate(LOGITS, TARGET, key="a")
            return (await run.result()).key_count

    assert asyncio.run(count()) == 1


INTERRUPTED = """
import os, signal, sys, threading
from losswire_client import Client
with Client(sys.argv[1]) as client:
    run = client.run(sys.argv[2])
    states = run.watch()
    next(states)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        next(states)
    except KeyboardInterrupt:
        print(run.finish(count=0).is_finished)
"""


def test_interrupted_watch_leaves_the_client_well(keeping, name):
    done = run_program([sys.executable, "-c", INTERRUPTED, keeping, name], capture_output=True, check=True)
    assert done.stdout == b"True\n"


FORKING = """
import os, sys
from losswire_client import Client
with Client(sys.argv[1]) as client:
    run = client.run(sys.argv[2])
    states = run.watch()
    next(states)
    if not os.fork():
        run.finish(count=0)
        os._exit(0)
    assert os.wait()[1] == 0
    print([state.is_finished for state in states])
"""


def test_child_of_a_fork_adds_to_a_run_that_is_watched(keeping, name):
    done = run_program([sys.executable, "-c", FORKING, keeping, name], capture_output=True, check=True)
    assert done.stdout == b"[True]\n"
