"""Two servers behind a real Envoy, restarted one after the other under load: no evaluation fails."""

import logging
import os
import signal
import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from losswire_server import launch
from tests.e2e.replicas.callers import calling
from tests.e2e.replicas.proxy import TOKEN, envoy, free_port
from tests.helpers import eventually

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KINDS = ("small", "spread", "unary", "stream", "async", "async_stream", "stub", "stub_large")
# No proxy can retry a stream whose first answers its caller has: a plain one is only safe from servers that finish it.
KINDS_BY_HOW = {signal.SIGTERM: (*KINDS, "stub_stream"), signal.SIGKILL: KINDS}
ROUNDS = 3
SECONDS_BETWEEN = 2.0  # longer than Envoy takes to see that a server is there


class Replica:
    """A server that may be restarted on its port."""

    def __init__(self, stack: ExitStack) -> None:
        self.port = free_port()
        self._stack = stack
        self._start()

    def restart(self, how: signal.Signals) -> None:
        os.kill(self._server.pid, how)
        eventually(partial(is_free, self.port), 60)
        self._start()

    def _start(self) -> None:
        self._server = self._stack.enter_context(
            launch(port=self.port, drain_seconds=3, log_level="error", access_log_per_second=0)
        )


def is_free(port: int) -> bool:
    try:
        free = socket.create_server(("127.0.0.1", port))
    except OSError:
        return False
    free.close()
    return True


@pytest.mark.parametrize("how", KINDS_BY_HOW, ids=lambda how: how.name)
def test_rolling_restart_costs_no_evaluation(how, tmp_path):
    with ExitStack() as stack:
        replicas = [Replica(stack) for _ in range(2)]
        proxy = stack.enter_context(envoy([replica.port for replica in replicas], tmp_path))
        environment = {"LOSSWIRE_TLS_CA": str(proxy.ca), "LOSSWIRE_TOKEN": TOKEN}
        with calling(proxy.target, KINDS_BY_HOW[how], **environment) as done:
            for replica in replicas * ROUNDS:
                time.sleep(SECONDS_BETWEEN)
                replica.restart(how)
            time.sleep(SECONDS_BETWEEN)
        ejections = proxy.statistic("outlier_detection.ejections_enforced_total")
    log.info("done: %s, ejections: %d", done, ejections)  # --log-cli-level=INFO shows it
    assert [each for each in done if each.error] == []
    assert min(each.calls for each in done) > 20
    assert how is signal.SIGTERM or ejections > 0  # without waiting for health checks
