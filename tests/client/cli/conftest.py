import pytest
from typer.testing import CliRunner

from losswire_client.cli._app import app


@pytest.fixture
def losswire(target):
    """Runs the command against the server of the tests."""

    def run(*arguments: object, answer: str | None = None, **environment: str):
        environment = {"LOSSWIRE_TARGET": target} | environment
        words = [str(each) for each in arguments]
        return CliRunner().invoke(app, words, input=answer, env=environment, prog_name="losswire")

    return run


@pytest.fixture
def metrics_url(server):
    return f"http://127.0.0.1:{server.metrics_port}/metrics"
