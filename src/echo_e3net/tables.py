"""Read and write CSV files. The only module that uses pandas, which is imported where it is needed.

Fields are read as text, except numbers of long tables. Row numbers count from 1 with the header as row 1. Tables are
written with commas in UTF-8. Semicolons, tabs, UTF-16 and Windows-1252 are read too, as spreadsheets export them.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from echo_e3net.errors import InputError
from echo_e3net.files import write_text

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = (",", ";", "\t")
DECIMAL_COMMA = r"^(\s*[+-]?\d*),(\d+\s*)$"
"""A number with a decimal comma, as it occurs in tables with other delimiters."""
FIRST_ROW = 2
"""Number of the first row below the header."""
ROWS = 50_000
"""Number of rows of a long table that are parsed at a time, to save memory."""
Part = TypeVar("Part")


class NumberRows(NamedTuple):
    """Rows of a long table of numbers.

    Attributes:
        names: the different keys.
        keys: (R,), the index of each row's key in ``names``.
        values: (R, C), NaN for text that is not a number.
        texts: the fields that are not finite numbers, by row and column.
    """

    names: list[str]
    keys: Int[np.ndarray, " R"]
    values: Float[np.ndarray, "R C"]
    texts: dict[tuple[int, int], str]

    def text(self, row: int, column: int) -> str:
        """Return a field as text."""
        value = float(self.values[row, column])
        return self.texts.get((row, column), f"{value:.0f}" if value.is_integer() else f"{value}")


def read_parts(
    path: Path,
    columns: Sequence[str],
    use: Callable[[pd.DataFrame, str], Part],
    dtype: object = str,
    rows: int = sys.maxsize,
) -> list[Part]:
    """Read a CSV. Further columns and any order of columns are allowed.

    Args:
        path: the file.
        columns: columns that must exist.
        use: function that is applied to each part of the table and the delimiter.
        dtype: the types of columns for pandas.
        rows: number of rows of a part; by default all.

    Raises:
        InputError: the file is missing, empty or not a CSV, or a column is missing or repeated.
    """
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    try:
        content = path.read_bytes()
        encoding = encoding_of(content)
        header, delimiter = read_header(content, encoding, columns)
        # pandas reads the file again, in parts.
        del content
        settings: dict[str, Any] = {"decimal": "." if delimiter == "," else ",", "dtype": dtype, "encoding": encoding}
        settings |= {"keep_default_na": False, "index_col": False, "low_memory": False, "compression": None}
        with warnings.catch_warnings():
            # pandas would shift or drop values of rows that are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            with pd.read_csv(path, sep=delimiter, chunksize=rows, **settings) as parts:
                require_columns(path, header, columns)
                return [use(part, delimiter) for part in parts]
    # UnicodeDecodeError and pandas' EmptyDataError and ParserError are ValueErrors.
    except (ValueError, pd.errors.ParserWarning, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a readable CSV ({reason}). Each row needs as many values as the header. "
            "Numbers with a decimal comma need semicolons between the columns."
        ) from error


def require_columns(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Check that a header has each of the columns once."""
    for column in columns:
        if header.count(column) != 1:
            problem = f"occurs {header.count(column)} times; keep one" if column in header else "is missing"
            raise InputError(f"{path}: column {column!r} {problem}. Columns: {', '.join(map(repr, header))}.")


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
    """Read the rows of a CSV as text by column; raise as :func:`read_parts`."""

    def rows(table: pd.DataFrame, delimiter: str) -> list[dict[str, str]]:
        # Short rows lack their last values.
        table = table.fillna("")
        texts = table if delimiter == "," else table.replace(DECIMAL_COMMA, r"\1.\2", regex=True)
        return [dict(zip(map(str, texts), row, strict=True)) for row in texts.to_numpy(object).tolist()]

    return list(chain.from_iterable(read_parts(path, columns, rows)))


def read_numbers(path: Path, key: str, columns: Sequence[str], clean: Callable[[str], str]) -> NumberRows:
    """Read a long table of numbers with a text key; raise as :func:`read_parts`.

    Args:
        path: the table.
        key: column of the key.
        columns: columns of numbers.
        clean: function that normalises a key; called once per distinct key of each part.
    """
    import pandas as pd

    places: dict[str, int] = {}
    texts: dict[tuple[int, int], str] = {}

    def numbers(part: pd.DataFrame, _: str) -> tuple[Int[np.ndarray, " R"], Float[np.ndarray, "R C"]]:
        # Short rows lack their last values; their key has code -1, which is the last place.
        spellings = [*map(str, part[key].cat.categories), ""]
        place = np.array([places.setdefault(clean(text), len(places)) for text in spellings])
        # pandas reads a column of True and False as truth values, and would convert them to numbers.
        fields = [part[name].astype(str) if part[name].dtype == bool else part[name] for name in columns]
        values = np.column_stack([pd.to_numeric(field, errors="coerce").to_numpy("float64") for field in fields])
        for row, column in np.argwhere(~np.isfinite(values)).tolist():
            texts[part.index[row], column] = str(fields[column].iat[row])
        return place[part[key].cat.codes], values

    parts = read_parts(path, (key, *columns), numbers, {key: "category"}, ROWS)
    keys, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return NumberRows(list(places), keys, values, texts)


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return the number that a text contains; NaN if it is not a number from ``low`` to ``high``."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if low <= value <= high else math.nan


def csv_text(rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> str:
    """Return rows as the text of a CSV."""
    import pandas as pd

    return str(pd.DataFrame(rows, columns=columns).to_csv(index=False))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], columns: list[str] | None = None) -> None:
    """Write rows as a CSV, completely or not at all."""
    write_text(path, csv_text(rows, columns))
