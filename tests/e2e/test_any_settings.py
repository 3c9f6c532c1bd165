"""Whatever the settings: the server serves and stops with status 0, or says in one line why not and exits with 2."""

import random
import signal
import subprocess
import sys

import pytest
from pydantic import ValidationError

from losswire_server import Settings
from tests.processes import started

COMMAND = [sys.executable, "-m", "losswire_server", "--log-format=json"]
ABSURD = ["-1", "0", "1", "2", "3.5", "64", "4096", "12288", "65535", "65536", "86400", "1000000", "inf", "-inf", "nan"]
ABSURD += [
    str(2**31 - 1),
    str(2**31),
    str(2**48),
    str(2**63),
    "9" * 400,
    "1e300",
    "1e-300",
    "true",
    "",
    "a\nb",
    "\x1b[31m",
]
TEXTS = {
    "device": ["cpu", "cuda", "cuda:99", "tpu", ""],
    "host": ["127.0.0.1", "::1", "localhost", "999.1.1.1", "203.0.113.1", "a" * 300, ""],
    "metrics_host": ["127.0.0.1", "[::1]", "no such host", ""],
    "drain_seconds": ["0", "0.1", "inf", "nan", "-1", "1e300"],  # a server that drains for a day may
    "runs": ["/nowhere/runs.db", "/", "/dev/null", "postgresql://127.0.0.1:1/none", "mysql://host/none", ""],
    "config": ["/nowhere", "/", "/dev/zero", "/dev/null", "/etc/shadow"],
}
STARTS = 16
SEED = 0


def any_flags(rng: random.Random) -> list[str]:
    """Flags of which each alone may be served with or not. Most values alone are refused, so it takes few of them."""
    names = rng.sample([name for name in Settings.model_fields if not name.startswith("log_")], rng.randint(1, 4))
    given = {name: rng.choice(TEXTS.get(name, ABSURD)) for name in names}
    ports = {name: "0" for name in ("port", "metrics_port") if name not in given}
    return [f"--{name.replace('_', '-')}={value}" for name, value in (given | ports).items()]


def are_taken(flags: list[str]) -> bool:
    """Whether the settings' own checks take them: then the machine has the last word."""
    values = dict(flag[2:].split("=", 1) for flag in flags)
    try:
        Settings(**{name.replace("-", "_"): value for name, value in values.items()})  # type: ignore[arg-type]
    except (ValidationError, ValueError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_any_settings_serve_or_are_refused():
    rng = random.Random(SEED)
    flags = [flags for flags in (any_flags(rng) for _ in range(20 * STARTS)) if are_taken(flags)][: STARTS // 2]
    flags += [any_flags(rng) for _ in range(STARTS - len(flags))]
    for each in flags:
        with started([*COMMAND, *each], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            if '"serving"' in first or not first:
                process.send_signal(signal.SIGTERM)
            rest = process.stderr.read() if first else ""
            status = process.wait(60)
        said = first + rest
        assert "Traceback" not in said, (each, said)
        assert status == (2 if first.startswith("losswire-server: ") else 0), (each, said)
        assert all(line.isprintable() for line in said.splitlines()), (each, said)
