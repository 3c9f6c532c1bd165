"""Processes of one server that end under load cost their callers time, and nothing else."""

import logging
import os
import signal
import time
from functools import partial

import pytest

from losswire_server import launch
from tests.e2e.replicas.callers import KINDS_OF_SDK, calling
from tests.e2e.replicas.watching import children, is_replaced
from tests.helpers import eventually

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ENDS = 6
SECONDS_BETWEEN = 2.0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_ended_processes_cost_no_error(how):
    with (
        launch(processes=2, log_level="error", access_log_per_second=0) as server,
        calling(server.target, KINDS_OF_SDK) as done,
    ):
        for number in range(ENDS):
            pid = children(server)[number % 2]
            time.sleep(SECONDS_BETWEEN)
            os.kill(pid, how)
            eventually(partial(is_replaced, pid, server), 120)
        time.sleep(SECONDS_BETWEEN)
    log.info("done: %s", done)  # --log-cli-level=INFO shows it
    assert [each for each in done if each.error] == []
    assert min(each.calls for each in done) > 20
