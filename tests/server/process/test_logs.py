import json
import logging

import pytest

from losswire_server.process import logs


def fail_with_a_secret() -> None:
    secret = "-".join(["s3", "cr3t"])  # noqa: F841 - a local variable, as callers' data would be
    raise RuntimeError("it failed")


@pytest.mark.parametrize("format", ["json", "console"])
def test_event_has_fields_and_traceback(format, capsys):
    logs.configure("info", format)
    try:
        fail_with_a_secret()
    except RuntimeError:
        logging.getLogger("losswire_server").exception("internal error", extra={"method": "Evaluate"})
    printed = capsys.readouterr().err
    assert "RuntimeError: it failed" in printed
    assert "fail_with_a_secret" in printed
    assert "s3-cr3t" not in printed
    if format == "json":
        entry = json.loads(printed)
        assert (entry["event"], entry["method"], entry["level"]) == ("internal error", "Evaluate", "error")


def test_events_below_the_level_are_not_logged(capsys):
    logs.configure("warning", "json")
    logging.getLogger("losswire_server").info("serving")
    assert capsys.readouterr().err == ""


def test_leaving_caller_is_no_news(capsys):
    logs.configure("info", "json")
    grpcio = logging.getLogger("grpc._cython.cygrpc")
    grpcio.error("ExecuteBatchError raised in core by servicer method [%s]", "/losswire.v1.LossService/EvaluateStream")
    assert capsys.readouterr().err == ""
    grpcio.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", "/losswire.v1.LossService/Evaluate")
    assert json.loads(capsys.readouterr().err)["logger"] == "grpc._cython.cygrpc"


@pytest.mark.parametrize("format", ["json", "console"])
def test_callers_text_forges_no_line(format, capsys):
    logs.configure("info", format)
    foreign = "a\nlosswire: all is well\r\x1b[31m" + "x" * 10_000
    logging.getLogger("losswire_server").info("call", extra={"peer": foreign})
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "\r" not in printed
    assert "\x1b[31mx" not in printed
    assert len(printed) < 2000
