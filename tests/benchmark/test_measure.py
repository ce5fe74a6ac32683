"""Tests of rounds, estimates and the time limit, with a fake clock."""

import time
import weakref

import pytest
import torch

from echo_e3net.benchmark.forms import Form
from echo_e3net.benchmark.measure import FEWEST, NO_TIME, WARM_UP, Budget, at_most, measure

CPU = torch.device("cpu")
SLOW = {"reference": 10.0, "a": 3.0, "b": 2.0}


class FakeClock:
    """A clock that advances only when a form is prepared or run."""

    def __init__(self):
        self.seconds, self.calls = 0.0, []

    def __call__(self):
        return self.seconds

    def form(self, name, seconds, setup=0.0, usual=None):
        """Return a form that takes some seconds to prepare and to run; ``usual`` is what the benchmark expects."""

        def run():
            self.calls.append(name)
            self.seconds += seconds

        def prepare():
            self.seconds += setup
            return run

        return Form(name.partition(" ")[2], prepare, setup if usual is None else usual)


@pytest.fixture
def clock():
    return FakeClock()


def compare(clock, networks, seconds, whole=None, expected=None):
    total = Budget(seconds if whole is None else whole, clock)
    return measure(networks, CPU, Budget(seconds, clock), total, expected)


def rounds(result):
    return {timing.form: timing.rounds for timing in result.timings}


def test_rounds_are_interleaved_and_broken_forms_are_named(clock):
    def broken():
        raise RuntimeError("no kernel\nfurther lines")

    networks = {
        "a": [clock.form("a one", 0.2), clock.form("a two", 0.01)],
        "b": [Form("one", broken), clock.form("b two", 0.05)],
    }
    found = compare(clock, networks, 20)
    assert [timing.form for timing in found["a"].timings] == ["two", "one"]
    assert [timing.seconds for timing in found["a"].timings] == pytest.approx([0.01, 0.2])
    assert found["b"].failed == {"one": "RuntimeError: no kernel"}
    repeated = clock.calls[3 * (1 + WARM_UP) :]
    assert len(repeated) >= 9 * FEWEST
    assert repeated == ["a one", "a two", "b two"] * (len(repeated) // 3)


@pytest.mark.parametrize("seconds", [15.5, 16, 29, 31, 47, 62, 130, 599, 3000])
def test_measure_ends_in_time_and_times_every_network(clock, seconds):
    networks = {
        name: [clock.form(f"{name} {form}", factor * pass_) for form, factor in (("one", 1), ("two", 0.7), ("3", 2))]
        for name, pass_ in SLOW.items()
    }
    found = compare(clock, networks, seconds)
    assert clock.seconds <= seconds
    assert all(result.timings for result in found.values())
    for result in found.values():
        assert len(result.timings) + len(result.failed) == 3
        assert set(result.failed.values()) <= {NO_TIME}
    # all networks have the same forms
    assert len({frozenset(result.failed) for result in found.values()}) == 1


def test_without_time_for_a_round_the_first_pass_counts(clock):
    found = compare(clock, {name: [clock.form(f"{name} one", value)] for name, value in SLOW.items()}, 20)
    assert [rounds(result) for result in found.values()] == [{"one": 0}] * 3
    assert [result.timings[0].seconds for result in found.values()] == list(SLOW.values())


def test_a_row_that_is_known_not_to_fit_is_not_started(clock):
    networks = {name: [clock.form(f"{name} one", value)] for name, value in SLOW.items()}
    found = compare(clock, networks, 14, expected=SLOW)
    assert not clock.calls
    assert [result.failed for result in found.values()] == [{"one": NO_TIME}] * 3


def test_the_first_form_may_use_the_time_of_later_rows(clock):
    networks = {name: [clock.form(f"{name} {form}", value) for form in (1, 2)] for name, value in SLOW.items()}
    found = compare(clock, networks, 5, whole=100)
    assert [result.failed for result in found.values()] == [{"2": NO_TIME}] * 3
    assert clock.seconds == 15


def test_if_few_rounds_fit_only_the_fastest_forms_are_repeated(clock):
    networks = {
        name: [clock.form(f"{name} slow", 2 * value), clock.form(f"{name} fast", value)]
        for name, value in {"reference": 4.0, "a": 1.0}.items()
    }
    found = compare(clock, networks, 40)
    assert [rounds(result)["slow"] for result in found.values()] == [0, 0]
    assert rounds(found["a"])["fast"] == rounds(found["reference"])["fast"] == 5
    assert clock.seconds <= 40


def test_a_long_preparation_is_left_out_for_all_networks(clock):
    networks = {
        name: [clock.form(f"{name} one", 0.5), clock.form(f"{name} compiled", 0.1, setup=30)] for name in ("a", "b")
    }
    found = compare(clock, networks, 90)
    assert [result.failed for result in found.values()] == [{"compiled": NO_TIME}] * 2
    found = compare(clock, networks, 150)
    assert [result.timings[0].form for result in found.values()] == ["compiled"] * 2


def test_passes_that_warm_up_do_not_count(clock):
    times = iter([5.0, 3.0, 3.0])

    def run():
        clock.seconds += next(times, 0.1)

    found = compare(clock, {"a": [Form("one", lambda: run)]}, 100)
    assert found["a"].timings[0].seconds == pytest.approx(0.1)


def test_a_block_that_takes_too_long_is_stopped():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="not ready in 0 s"), at_most(0.05):
        time.sleep(5)
    assert time.monotonic() - start < 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_that_ends_in_a_callback_of_a_weak_reference_is_kept():
    """Python ignores errors there."""
    start = time.monotonic()
    held = [type("Something", (), {})()]
    kept = weakref.ref(held[0], lambda _: time.sleep(0.2))

    def run():
        held.clear()
        time.sleep(5)

    with pytest.raises(TimeoutError), at_most(0.05):
        run()
    assert kept() is None
    assert time.monotonic() - start < 3


def test_an_inner_time_limit_keeps_the_outer_one():
    def wait():
        with at_most(60):
            pass
        time.sleep(5)

    start = time.monotonic()
    with pytest.raises(TimeoutError), at_most(0.05):
        wait()
    assert time.monotonic() - start < 2


def test_a_budget_never_becomes_negative(clock):
    budget = Budget(10, clock)
    clock.seconds = 4.0
    assert (budget.left(), budget.share(0.5).left()) == (6, 3)
    clock.seconds = 30.0
    assert budget.left() == 0
