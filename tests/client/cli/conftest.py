import pytest
from typer.testing import CliRunner

from losswire_client.cli._app import app


@pytest.fixture
def losswire(target):
    """Runs the command against the server of the tests."""

    def run(*arguments: object, **environment: str):
        environment = {"LOSSWIRE_TARGET": target} | environment
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment, prog_name="losswire")

    return run


@pytest.fixture
def metrics_url(server):
    return f"http://127.0.0.1:{server.metrics_port}/metrics"
