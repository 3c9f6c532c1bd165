import time

from losswire import v1
from losswire_server.tracing.recording import MOST_STEPS, NOTHING, Recording


def test_slab_waits_and_is_evaluated():
    recording = Recording()
    start = time.perf_counter()
    then = recording.launching(3, lambda result, seconds: (result, seconds))
    assert then("result", 0.25) == ("result", 0.25)
    queue, launch = recording.take()
    assert recording.take() == []
    assert (queue.name, launch.name) == ("queue", "launch")
    assert queue.start >= start
    assert queue.end == launch.start
    assert launch.end - launch.start == 0.25
    assert queue.facts == launch.facts == {"rows": 3}


def test_slab_that_was_never_evaluated_is_told_at_the_end():
    recording = Recording()
    then = recording.launching(3, lambda *_: "answer")
    recording.close()
    assert then("result", 0.25) == "answer"  # too late for the call, and for its trace
    (queue,) = recording.take()
    assert queue.facts == {"rows": 3, "unfinished": True}
    assert queue.start <= queue.end


def test_many_steps_of_a_name_are_added_up():
    recording = Recording()
    for number in range(100):
        recording.add("launch", number, number + 0.5)
    recording.add("read", 0, 1)
    assert [step.name for step in recording.steps] == ["launch"] * MOST_STEPS + ["read"]
    assert recording.facts() == {"launch.count": 100, "launch.seconds": 50.0}


def test_evaluated_requests_are_added_up():
    recording = Recording()
    answers = [v1.EvaluateResponse(row_count=rows) for rows in (1, 2)]
    recording.evaluated("cross_entropy", "a", answers, 10)
    recording.evaluated("nll_loss", "x" * 10_000, answers, 3)
    for number in range(100):
        recording.evaluated("nll_loss", str(number), [], 0)
    facts = recording.facts()
    series = str(facts.pop("series"))
    assert facts == {"loss": "cross_entropy,nll_loss", "requests": 4, "rows": 6, "classes": 10}
    assert series.startswith("a,xxx")
    assert len(series) < 1000


def test_call_that_is_not_traced_notes_nothing():
    def then(result, seconds):
        return result, seconds

    NOTHING.add("read", 0, 1)
    NOTHING.evaluated("cross_entropy", "", [v1.EvaluateResponse(row_count=1)], 1)
    assert NOTHING.launching(1, then) is then
    assert (NOTHING.steps, NOTHING.facts()) == ([], {})
