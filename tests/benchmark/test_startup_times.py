"""The measurement of how long commands take to start."""

import pytest

from echo_e3net.benchmark.startup import COMMANDS, measure_startup
from echo_e3net.cli.functions import FUNCTIONS


def test_every_command_that_is_a_function_is_measured():
    assert {f"{name} --help" for name in FUNCTIONS} <= COMMANDS.keys()


def test_each_command_has_its_median():
    found = measure_startup(2, {"fast": ("-c", "pass"), "slow": ("-c", "import time; time.sleep(0.3)")})
    assert 0 < found["fast"] < found["slow"]
    assert found["slow"] > 0.3


def test_a_command_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match=r"broken: (?s:.*)no such"):
        measure_startup(1, {"broken": ("-c", "raise ValueError('no such')")})
