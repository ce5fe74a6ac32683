"""Read and write CSV files. The only module that uses pandas.

Fields are read as text, except numbers of long tables. Row numbers count from 1 with the header as row 1. Tables are
written with commas in UTF-8. Semicolons, tabs, UTF-16 and Windows-1252 are read too, as spreadsheets export them.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from echo_e3net.errors import InputError
from echo_e3net.files import write_text

DELIMITERS = (",", ";", "\t")
DECIMAL_COMMA = r"^(\s*[+-]?\d*),(\d+\s*)$"
"""A number with a decimal comma, as it occurs in tables with other delimiters."""
FIRST_ROW = 2
"""Number of the first row below the header."""


class NumberRows(NamedTuple):
    """Rows of a long table of numbers: keys (R,), numbers (R, C) with NaN for other text, and the fields themselves."""

    keys: Shaped[np.ndarray, " R"]
    values: Float[np.ndarray, "R C"]
    fields: Shaped[np.ndarray, "R C"]


def read_columns(path: Path, columns: Sequence[str], text: str | None = None) -> pd.DataFrame:
    """Read a CSV. Further columns and any order of columns are allowed.

    Args:
        path: the file.
        columns: columns that must exist.
        text: the column to read as text. By default, all columns are.

    Raises:
        InputError: the file is missing, empty or not a CSV, or a column is missing or repeated.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    try:
        content = path.read_bytes()
        encoding = encoding_of(content)
        header, delimiter = read_header(content, encoding, columns)
        with warnings.catch_warnings():
            # pandas would shift or drop values of rows that are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table: pd.DataFrame = pd.read_csv(
                io.BytesIO(content),
                sep=delimiter,
                decimal="." if delimiter == "," else ",",
                dtype={text: str} if text else str,
                keep_default_na=False,
                encoding=encoding,
                index_col=False,
                low_memory=False,
            )
    # UnicodeDecodeError and pandas' EmptyDataError and ParserError are ValueErrors.
    except (ValueError, pd.errors.ParserWarning, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a readable CSV ({reason}). Each row needs as many values as the header. "
            "Numbers with a decimal comma need semicolons between the columns."
        ) from error
    for column in columns:
        if header.count(column) != 1:
            problem = f"occurs {header.count(column)} times; keep one" if column in header else "is missing"
            raise InputError(f"{path}: column {column!r} {problem}. Columns: {', '.join(map(repr, header))}.")
    if text:
        return table
    # Short rows lack their last values.
    table = table.fillna("")
    return table if delimiter == "," else table.replace(DECIMAL_COMMA, r"\1.\2", regex=True)


def encoding_of(content: bytes) -> str:
    """Return the encoding of a text: UTF-8, UTF-16 with a byte-order mark, or else Windows-1252.

    Raises:
        ValueError: it is not text.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content:
        raise ValueError("it is not a text file, or it is UTF-16 without a byte-order mark; export it as CSV in UTF-8")
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def read_header(content: bytes, encoding: str, columns: Sequence[str]) -> tuple[list[str], str]:
    """Return the header, and the delimiter that separates the columns; without them, the one that separates most."""
    headers = []
    for sign in DELIMITERS:
        text = io.TextIOWrapper(io.BytesIO(content), encoding, newline="")
        headers.append((next(csv.reader(text, delimiter=sign), []), sign))
    found = ((header, sign) for header, sign in headers if set(columns) <= set(header))
    return next(found, max(headers, key=lambda header: len(header[0])))


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the rows of a CSV as text by column; raise as :func:`read_columns`."""
    return [{str(k): str(v) for k, v in row.items()} for row in read_columns(path, columns).to_dict("records")]


def read_numbers(path: Path, key: str, columns: Sequence[str], clean: Callable[[str], str]) -> NumberRows:
    """Read a long table of numbers with a text key; raise as :func:`read_columns`.

    Args:
        path: the table.
        key: column of the key.
        columns: columns of numbers.
        clean: function that is applied to the keys.
    """
    table = read_columns(path, (key, *columns), text=key)
    keys, fields = table[key].map({text: clean(text) for text in table[key].unique()}), table[list(columns)]
    # pandas reads a column of True and False as truth values, and would convert them to numbers.
    text = fields.astype(dict.fromkeys(fields.select_dtypes(bool), str))
    values = text.apply(pd.to_numeric, errors="coerce").to_numpy("float64")
    return NumberRows(keys.to_numpy(object), values, fields.to_numpy(object))


def group_rows(*keys: Shaped[np.ndarray, " R"]) -> list[Int[np.ndarray, " M"]]:
    """Return the indices of the rows with equal keys, one array per combination of keys."""
    return list(pd.DataFrame(dict(enumerate(keys))).groupby(list(range(len(keys)))).indices.values())


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return the number that a text contains; NaN if it is not a number from ``low`` to ``high``."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if low <= value <= high else math.nan


def csv_text(rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> str:
    """Return rows as the text of a CSV."""
    return str(pd.DataFrame(rows, columns=columns).to_csv(index=False))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> None:
    """Write rows as a CSV, completely or not at all."""
    write_text(path, csv_text(rows, columns))
