"""Distributions: each as W&B defines it, against scipy; what an optimiser is given of them."""

import math

import numpy as np
import pytest
import scipy.stats
import yaml

from echo_e3net.errors import InputError
from echo_e3net.search.sweep_early import Bands, bands_below, bands_from
from echo_e3net.search.sweep_file import read_sweep
from echo_e3net.search.sweep_space import (
    Choices,
    Range,
    beta_quantile,
    coordinate,
    grid_points,
    labels,
    nested_values,
    value_at,
)

U = np.linspace(0.001, 0.999, 199)


@pytest.fixture
def parameter(tmp_path):
    """Reads one parameter through the whole reader."""

    def read(method="random", **settings):
        (tmp_path / "sweep.yaml").write_text(
            yaml.safe_dump(
                {"method": method, "metric": {"name": "m"}, "command": ["x", "${args}"], "parameters": {"p": settings}}
            )
        )
        return read_sweep(tmp_path / "sweep.yaml").parameters[0]

    return read


LOGS = {"min": math.log(0.01), "max": math.log(100)}
REFERENCES = {
    "uniform": ({"min": 1.5, "max": 4.0}, scipy.stats.uniform(1.5, 2.5)),
    "log_uniform": (LOGS, scipy.stats.loguniform(0.01, 100)),
    "log_uniform_values": ({"min": 0.01, "max": 100}, scipy.stats.loguniform(0.01, 100)),
    "inv_log_uniform": ({"min": math.log(0.01), "max": math.log(10)}, scipy.stats.loguniform(0.1, 100)),
    "inv_log_uniform_values": ({"min": 0.01, "max": 100}, scipy.stats.loguniform(0.01, 100)),
    "normal": ({"mu": 2, "sigma": 3}, scipy.stats.norm(2, 3)),
    "log_normal": ({"mu": 0.5, "sigma": 0.8}, scipy.stats.lognorm(s=0.8, scale=math.exp(0.5))),
    "beta": ({"a": 2, "b": 5}, scipy.stats.beta(2, 5)),
}

NEAR = {
    False: {"rtol": 1e-9, "atol": 1e-9},
    True: {"rtol": 1e-3, "atol": 1e-3},
}  # of normal tails a millionth is left out


def spread_over(found):
    """Coordinates that cover a range evenly, on its own scale."""
    ends = (math.log(found.low), math.log(found.high)) if found.log else (found.low, found.high)
    places = ends[0] + U * (ends[1] - ends[0])
    return np.exp(places) if found.log else places


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("q", [None, 0.25, 2])
def test_an_even_coordinate_gives_the_distribution(parameter, name, q):
    settings, reference = REFERENCES[name]
    quantized = {"q": q} if q and not name.startswith("inv") else {}
    found = parameter(distribution=("q_" if quantized else "") + name, **settings, **quantized)
    values = np.array([value_at(found, x) for x in spread_over(coordinate(found))])
    expected = np.sort(reference.ppf(U))
    expected = np.round(expected / q) * q if quantized else expected
    np.testing.assert_allclose(np.sort(values), expected, **NEAR["normal" in name])
    assert all(isinstance(value, int) for value in values.tolist()) == (bool(quantized) and q == 2)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 1), (2, 5), (40, 3), (0.3, 8)])
def test_beta_against_scipy(a, b):
    for x in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert beta_quantile(x, a, b) == pytest.approx(scipy.stats.beta.ppf(x, a, b), abs=1e-12)


def test_probabilities_are_those_given(parameter):
    found = parameter(values=["a", "b", "c"], probabilities=[0.2, 0, 0.8])
    values = [value_at(found, x) for x in U]
    assert (values.count("a"), values.count("b")) == (40, 0)
    assert value_at(found, 1.0) == "c"


def test_w_and_b_infers_the_distribution_from_the_settings(parameter):
    cases = [
        ({"value": 3}, "constant"),
        ({"values": [1]}, "categorical"),
        ({"min": 1, "max": 3}, "int_uniform"),
        ({"min": 1, "max": 3.0}, "uniform"),
    ]
    assert [parameter(**settings).distribution for settings, _ in cases] == [name for _, name in cases]
    assert coordinate(parameter(min=1, max=3)) == Range(1, 3, integer=True)
    assert parameter(distribution="normal").settings == {"mu": 0, "sigma": 1}


def test_values_that_an_optimiser_cannot_tell_apart_are_counted():
    assert labels(["a", 1, 0.5]) == ("a", 1, 0.5)
    assert labels([1, True]) == (0, 1)
    assert labels([[8, 16], [12, 16]]) == (0, 1)


def test_a_list_comes_back_as_it_stood(parameter):
    found = parameter(values=[[8, 16], [12, 16]])
    assert coordinate(found) == Choices((0, 1))
    assert value_at(found, 1) == [12, 16]


def test_a_grid_is_every_combination_once(tmp_path):
    text = """
method: grid
metric: {name: m}
command: [x, "${args}"]
parameters:
  b: {values: [x, y]}
  a: {distribution: q_uniform, min: 0.1, max: 0.4, q: 0.1}
  nested: {parameters: {n: {min: 1, max: 2}, c: {value: 7}}}
"""
    (tmp_path / "sweep.yaml").write_text(text)
    parameters = read_sweep(tmp_path / "sweep.yaml").parameters
    points = grid_points(parameters)
    values = [nested_values(parameters, point) for point in points]
    assert len(values) == 3 * 2 * 2
    assert values[0] == {"a": 0.1, "b": "x", "nested": {"c": 7, "n": 1}}
    assert {value["a"] for value in values} == {0.1, 0.2, 0.3}  # W&B leaves max out
    assert len({str(value) for value in values}) == len(values)


BAD = [
    (
        {"distribution": "uniformly", "min": 0, "max": 1},
        r"parameters.p.distribution is 'uniformly': give one of constant",
    ),
    ({"min": 0}, "give value, values, min and max"),
    ({"min": 2, "max": 1}, "parameters.p.min is 2: it must be below max, which is 1"),
    ({"min": "1e-4", "max": 1.0}, "'1e-4': give a number; YAML reads 1e-4 as text: write 0.0001"),
    ({"min": 0.0, "max": 1.0, "mu": 3}, "parameters.p.mu .3. is not known"),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "parameters.p.min is 0: give a number above 0"),
    ({"distribution": "log_uniform", "min": 1, "max": 1000}, "takes exponents of e"),
    ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 0}, "parameters.p.q is 0: give a number above 0"),
    ({"distribution": "normal", "sigma": -1}, "parameters.p.sigma is -1"),
    ({"distribution": "int_uniform", "min": 1.5, "max": 3}, "parameters.p.min is 1.5: give a whole number"),
    ({"distribution": "beta", "a": True}, "parameters.p.a is True"),
    ({"values": []}, "parameters.p.values is .*at least one value"),
    ({"values": [1, None]}, 'write "null" in quotes'),
    ({"value": None}, 'write "null" in quotes'),
    ({"values": ["a", "b"], "probabilities": [0.5, 0.6]}, "they sum to 1.1"),
    ({"values": ["a", "b"], "probabilities": [1]}, "a list of 2 numbers"),
    ({"distribution": "categorical", "values": ["a"], "probabilities": [1]}, "probabilities .* is not known"),
    ({"valeus": [1]}, "parameters.p.valeus .* did you mean values?"),
    ({"parameters": {}}, "parameters.p is .*: give at least one parameter"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_a_bad_parameter_ends_in_one_sentence(parameter, settings, message):
    with pytest.raises(InputError, match=rf"sweep.yaml: .*{message}"):
        parameter(**settings)


def test_a_grid_refuses_what_has_no_end(parameter):
    with pytest.raises(InputError, match=r"parameters.p.distribution is 'uniform': a grid takes"):
        parameter("grid", min=0.0, max=1.0)


def test_bands_are_those_of_w_and_b():
    assert bands_from(3, 3, True).bands[:3] == (3, 9, 27)
    assert bands_below(27, 2, 3, True).bands == (3, 9)
    assert bands_below(5, 9, 2, True).bands == (1, 2)


def test_the_worst_end_at_a_band():
    rule = Bands((2,), 3, True)
    others = [[5, 4], [5, 3], [5, 9], [7]]
    assert not rule.ends([9], others)
    assert rule.ends([5, 9], others)  # third of three at the band; the best third and what equals it go on
    assert not rule.ends([5, 4], others)
    assert not rule.ends([5, 9, 1], [[5, 9, 1]])  # alone
    assert Bands((2,), 3, False).ends([3.5, 9], others) is False  # its best figure counts


def test_labels_of_none_are_never_asked(parameter):
    assert value_at(parameter(value="null"), None) == "null"
