"""What becomes of a record: one line, with its fields, whatever is in them."""

import json
import logging
import sys
import threading
import traceback
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from losswire_server.process.logs.frozen import freeze
from losswire_server.process.logs.lines import Lines
from losswire_server.process.logs.strays import log_fault_of_loop
from tests.server.process.logs.records import LOGGER, entries, logged

SECRET = "s3-cr3t"


def fail_with_a_secret() -> None:
    secret = "-".join(["s3", "cr3t"])  # a local variable, as callers' data would be
    raise KeyError(secret)


def log_a_failure() -> None:
    try:
        fail_with_a_secret()
    except KeyError:
        LOGGER.exception("internal error", extra={"method": "Evaluate"})


def test_event_has_fields_and_traceback(capfd):
    (entry,) = entries(log_a_failure, capfd)
    assert (entry["event"], entry["method"], entry["level"]) == ("internal error", "Evaluate", "error")
    assert "in fail_with_a_secret" in entry["exception"]
    assert entry["exception"].endswith("\nKeyError")


@pytest.mark.parametrize("format", ["json", "console"])
def test_traceback_has_nothing_of_callers(format, capfd):
    said = logged(log_a_failure, capfd, format)
    assert said.count("\n") == 1
    assert "in fail_with_a_secret" in said
    assert SECRET not in said


def test_debugging_shows_texts_of_errors(capfd):
    (entry,) = entries(log_a_failure, capfd, "debug")
    assert entry["exception"].endswith(f"KeyError: '{SECRET}'")


def test_causes_of_an_error_are_shown(capfd):
    def log_chain() -> None:
        try:
            try:
                fail_with_a_secret()
            except KeyError as error:
                raise ValueError(SECRET) from error
        except ValueError:
            LOGGER.exception("internal error")

    (entry,) = entries(log_chain, capfd)
    assert entry["exception"].index("KeyError") < entry["exception"].index("ValueError")
    assert SECRET not in entry["exception"]


def test_events_below_the_level_are_not_logged(capfd):
    assert logged(lambda: LOGGER.info("serving"), capfd, level="warning") == ""


def test_leaving_caller_is_no_news(capfd):
    grpcio = logging.getLogger("grpc._cython.cygrpc")
    method = "/losswire.v1.LossService/Evaluate"
    assert (
        entries(lambda: grpcio.error("ExecuteBatchError raised in core by servicer method [%s]", method), capfd) == []
    )
    (entry,) = entries(lambda: grpcio.error("Unexpected [%s] raised by servicer method [%s]", "E", method), capfd)
    assert entry["logger"] == "grpc._cython.cygrpc"


FOREIGN = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ['a\n{"event": "serving"}', "\x1b[31mred\r\n", "\x00", "\x85\u2028\u2029", "\ud800", "\u202e", "x" * 5000, "%s", ""]
)
VALUES = FOREIGN | st.binary(max_size=9) | st.floats() | st.integers() | st.booleans() | st.none() | st.lists(FOREIGN)
NAMES = FOREIGN.filter(lambda name: name not in vars(logging.makeLogRecord({})) and name not in ("message", "asctime"))


class FailureError(Exception):
    pass


def record_of(message, name, fields, text) -> logging.LogRecord:
    error = (FailureError, FailureError(text), None)
    record = logging.LogRecord(name, logging.ERROR, "path", 1, message, (), error)
    vars(record).update(fields)
    return record


@given(FOREIGN, FOREIGN, st.dictionaries(NAMES, VALUES, max_size=4), FOREIGN, st.booleans())
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=300)
def test_any_text_is_one_line(message, name, fields, text, texts_of_errors):
    for json_format in (True, False):
        frozen = freeze(record_of(message, name, fields, text), texts_of_errors=texts_of_errors)
        line = Lines(json=json_format, colors=False).format(frozen)
        assert line.isprintable()
        assert len(line) < 20_000
        if json_format:
            assert {"event", "level", "logger", "timestamp", "exception"} <= set(json.loads(line))
            assert json.loads(line)["level"] == "error"


class Odd:
    def __str__(self) -> str:
        raise FailureError


def test_odd_values_are_shown(capfd):
    fields = {"odd": Odd(), "large": 10**5000, "nan": float("nan"), "bytes": b"\n", "nested": {"a": "\n" * 3000}}
    (entry,) = entries(lambda: LOGGER.info("odd", extra=fields), capfd)
    assert (entry["odd"], entry["large"], entry["nan"]) == ("a Odd without a text", "a large integer", "nan")
    assert len(entry["nested"]) < 2500


def test_record_that_cannot_be_shown_is_counted(capfd):
    said = logged(lambda: LOGGER.info("%d rows", "many"), capfd)
    entry = json.loads(said)
    assert (entry["event"], entry["records"], entry["why"]) == ("records left out", 1, "they cannot be shown")


def print_a_traceback() -> None:
    try:
        fail_with_a_secret()
    except KeyError:
        traceback.print_exc(limit=1)


def fail_in_a_thread() -> None:
    thread = threading.Thread(target=fail_with_a_secret, name="a\nb")
    thread.start()
    thread.join()


def warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful\n\x1b[31m", stacklevel=1)


def fault_of_loop() -> None:
    log_fault_of_loop(None, {"message": f"Exception in callback f({SECRET})", "exception": KeyError(SECRET)})


@pytest.mark.parametrize(
    ("stray", "event"),
    [
        (print_a_traceback, "printed"),
        (fail_in_a_thread, "uncaught exception"),
        (warn, "careful"),
        (fault_of_loop, "Exception in callback"),
        (lambda: sys.stderr.write("one\ntwo\n"), "printed"),
        (lambda: sys.excepthook(KeyError, KeyError(SECRET), None), "uncaught exception"),
    ],
)
def test_strays_are_records(stray, event, capfd):
    before = sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook
    found = entries(stray, capfd)
    assert found
    assert all(event in entry["event"] for entry in found)
    assert SECRET not in str(found)
    assert (sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook) == before
