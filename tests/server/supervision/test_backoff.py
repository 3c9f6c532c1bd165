from losswire_server.supervision.backoff import LONG_SECONDS, LONGEST_PAUSE, Backoff


def test_first_death_costs_no_pause():
    assert Backoff().pause(0.0) == 0.0


def test_pauses_grow_up_to_a_limit():
    backoff = Backoff()
    pauses = [backoff.pause(1.0) for _ in range(5000)]
    assert pauses[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_long_life_ends_the_pauses():
    backoff = Backoff()
    for _ in range(5):
        backoff.pause(1.0)
    assert [backoff.pause(LONG_SECONDS), backoff.pause(1.0), backoff.pause(1.0)] == [0.0, 0.0, 0.5]
