"""CSV files in and out. The only file that knows pandas.

Tables are read as text, so that what stands in a file can be named as it stands there; rows are counted as an editor counts them (the header is row 1).
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from echo_e3net.errors import InputError
from echo_e3net.files import write_text

Key = TypeVar("Key", bound=Hashable)

FIRST_ROW = 2
"""Row of the first line under the header."""


class NumberRows(NamedTuple):
    """Rows of a long table of numbers with a text key.

    Attributes:
        keys: the key of each row, as it stands in the file.
        values: (R, C), float64; NaN where the text is no number.
        rows: (R,), row numbers in the file.
        texts: what stands in the file.
    """

    keys: list[str]
    values: Float[np.ndarray, "R C"]
    rows: Int[np.ndarray, " R"]
    texts: pd.DataFrame

    def text(self, row: int, column: str) -> str:
        """What stands at a place (counted from 0)."""
        return str(self.texts[column].iloc[row])


def read_columns(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV as text, with the columns asked for; further columns and any order are fine.

    Raises:
        InputError: the file is missing, empty, not a CSV, or lacks a column or has one twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. data/README.md says which files each format has.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", pd.errors.ParserWarning
            )  # rows longer than the header would shift or lose values
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
        csv.Error,
    ) as error:
        raise InputError(
            f"{path}: not a readable CSV ({' '.join(str(error).split())}). Each row needs as many values as the header."
        ) from error
    for column in columns:
        if header.count(column) > 1:
            raise InputError(
                f"{path}: column {column!r} is there {header.count(column)} times; it has {', '.join(map(repr, header))}. Keep one."
            )
        if column not in table:
            raise InputError(f"{path}: column {column!r} is missing; it has {', '.join(map(repr, header))}.")
    whole: pd.DataFrame = table.fillna("")  # the values that a short row lacks
    return whole


def read_rows(path: Path, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV as text; empty fields are empty.

    Raises:
        InputError: the file is missing, not a CSV, or lacks a column.
    """
    return [{str(k): str(v) for k, v in row.items()} for row in read_columns(path, columns).to_dict("records")]


def read_numbers(path: Path, key: str, columns: Sequence[str]) -> NumberRows:
    """The rows of a long table, numbers but for one key; fast for a million rows.

    Raises:
        InputError: the file is missing, not a CSV, or lacks a column.
    """
    table = read_columns(path, (key, *columns))
    numbers = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy("float64")
    return NumberRows(table[key].tolist(), numbers, np.arange(len(table)) + FIRST_ROW, table)


def group_rows(keys: Iterable[Key]) -> dict[Key, Int[np.ndarray, " M"]]:
    """The places at which each key stands, in order; keys in the order of their first place."""
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return {key: np.array(found) for key, found in places.items()}


def csv_text(rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> str:
    """Rows as the text of a CSV."""
    return str(pd.DataFrame(rows, columns=columns).to_csv(index=False))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> None:
    """Write rows as a CSV; the file appears whole or not at all."""
    write_text(path, csv_text(rows, columns))
