"""Reads a W&B sweep file, and refuses what W&B would refuse or what could not run here.

The rules are those of W&B's schema of sweep configurations (https://github.com/wandb/sweeps, src/sweeps/config/schema.json), written anew: each key, its
type and range, nothing unknown. Beyond the schema: probabilities sum to 1; min is below max; a grid has discrete parameters alone; and a metric, a command
and a method that this machine can run are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echo_e3net.errors import InputError
from echo_e3net.search.sweep_early import Bands, bands_below, bands_from
from echo_e3net.search.sweep_parameters import as_grid, read_parameters
from echo_e3net.search.sweep_reader import Reader
from echo_e3net.search.sweep_space import Parameter

COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
"""W&B's command where a file has none."""

MACROS = (
    *("env", "interpreter", "program", "args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags"),
    *("args_json", "args_json_file", "args_append_hydra", "args_override_hydra"),
)
KEYS = ("method", "metric", "parameters", "command", "program", "name", "description", "run_cap", "early_terminate")
FOR_WANDB = ("apiVersion", "kind", "entity", "project", "controller")
"""Keys that say something to W&B alone."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        path: the file.
        name: name of the sweep's folder.
        method: grid, random or bayes.
        metric: the figure of metrics.csv that decides.
        maximize: whether more of it is better.
        target: a figure that is good enough: no trial is started once it is reached.
        parameters: by path; of a grid with the values that are tried.
        command: the words of a trial's command line, W&B's macros among them.
        program: what ``${program}`` stands for.
        run_cap: trials that may end, failed ones included.
        early: which trials end early.
    """

    path: Path
    name: str
    method: str
    metric: str
    maximize: bool
    target: float | None
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    program: str | None
    run_cap: int | None
    early: Bands | None


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        InputError: it cannot be read, or something in it is unknown, missing or wrong.
    """
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a sweep: {' '.join(str(error).split())}") from error
    reader = Reader(path)
    given = reader.mapping("the file", given, (*KEYS, *FOR_WANDB), ("method", "metric", "parameters"))
    method = reader.one_of("method", given["method"], ("grid", "random", "bayes"))
    metric = reader.mapping(
        "metric", given["metric"], ("name", "goal", "target", "impute", "impute_while_running"), ("name",)
    )
    command = given.get("command", list(COMMAND))
    if not isinstance(command, list) or not command:
        reader.refuse("command", command, "give a list of words")
    program = reader.text("program", given["program"]) if "program" in given else None
    return Sweep(
        path,
        re.sub(r"[^\w.-]+", "-", reader.text("name", given.get("name", path.stem))).strip("-."),
        method,
        reader.text("metric.name", metric["name"]),
        reader.one_of("metric.goal", metric.get("goal", "minimize"), ("minimize", "maximize")) == "maximize",
        reader.number("metric.target", metric["target"]) if "target" in metric else None,
        tuple(as_grid(reader, p) if method == "grid" else p for p in read_parameters(reader, (), given["parameters"])),
        tuple(read_word(reader, word, program) for word in command),
        program,
        reader.whole("run_cap", given["run_cap"], 1) if given.get("run_cap") is not None else None,
        read_early(reader, given["early_terminate"]) if given.get("early_terminate") is not None else None,
    )


def read_early(reader: Reader, value: Any) -> Bands:  # noqa: ANN401
    """The rule of early_terminate."""
    given = reader.mapping("early_terminate", value, ("type", "min_iter", "max_iter", "s", "eta", "strict"), ("type",))
    reader.one_of("early_terminate.type", given["type"], ("hyperband",))
    eta = reader.number("early_terminate.eta", given.get("eta", 3), lambda eta: eta > 1, "a number above 1")
    strict = given.get("strict", True)
    if not isinstance(strict, bool):
        reader.refuse("early_terminate.strict", strict, "give true or false")
    if {"max_iter", "s"} <= given.keys():
        steps = reader.number("early_terminate.s", given["s"], lambda s: s >= 1, "a number, at least 1")
        rule = bands_below(reader.whole("early_terminate.max_iter", given["max_iter"], 1), steps, eta, strict)
        return (
            rule
            if rule.bands
            else reader.refuse("early_terminate", given, "no band is at 1 or above; raise max_iter or lower eta")
        )
    if "min_iter" not in given:
        reader.refuse("early_terminate", given, "give min_iter, or max_iter and s")
    return bands_from(reader.whole("early_terminate.min_iter", given["min_iter"], 1), eta, strict)


def read_word(reader: Reader, word: Any, program: str | None) -> str:  # noqa: ANN401
    """A word of the command; a macro must be one that W&B knows."""
    if isinstance(word, dict | list) or word is None:
        reader.refuse("command", word, "give words; quote what YAML would take for something else")
    for macro in re.findall(r"\$\{([^}]*)\}", str(word)):
        whole = str(word) == f"${{{macro}}}"
        if not macro.startswith("envvar:") and not (whole and macro in MACROS):
            reader.refuse(
                "command",
                word,
                "no macro of W&B; known as words of their own: " + ", ".join(MACROS) + "; within words: envvar:NAME",
            )
        if macro == "program" and program is None:
            reader.refuse("command", word, "it stands for program, which is missing")
    return str(word)
