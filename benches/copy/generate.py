"""Makes the rows of a dataset as one CSV file: seeded, the same on every machine. Run by the environment with NumPy:

    python generate.py DATASET TABLES ROWS FILE

An empty field is NULL. The rows of the first table come first, and so on.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np

# Chunks bound the memory. Each has a seed of its own, and is made whole: a smaller table begins as a larger one does.
CHUNK_ROWS = {"lineitem": 250_000, "keyed": 250_000, "wide": 10_000, "long": 10_000, "small": 100_000}
WORDS = (
    "furiously ironic deposits quickly express blithely regular pending accounts carefully final packages silent ideas "
    "above theodolites sleep even requests haggle bold foxes"
).split()
# What a bad copy of text would trip over: quotes, a line end, a tab, a backslash, letters of two to four bytes.
ODD_WORDS = ['"quoted"', "line\nend", "tab\tstop", "back\\slash", "naïve", "日本", "🔑", "it's", "semi;colon", "a,b"]
SEED = 42
LONG_CHARACTERS = 20_000
NULL_SHARE = 0.1


def main() -> int:
    """Write the file under another name first, so that one that is there is whole."""
    name, tables, rows, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    makers = {"lineitem": lineitem, "keyed": lineitem, "wide": wide, "long": long_text, "small": small}
    unfinished = path.with_suffix(".part")
    total, chunk = tables * rows, CHUNK_ROWS[name]
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        for first in range(0, total, chunk):
            columns = makers[name](np.random.default_rng([SEED, first]), first, chunk)
            for row in itertools.islice(zip(*columns), min(chunk, total - first)):
                stream.write(",".join(row) + "\n")
    unfinished.rename(path)
    return 0


def lineitem(random: np.random.Generator, first: int, count: int) -> list[list[str]]:
    """Four lines an order, prices in cents that are a quantity times a unit price."""
    index = np.arange(first, first + count)
    quantity = random.integers(1, 51, count)
    shipped = np.datetime64("1992-01-02") + random.integers(0, 2526, count)
    words = np.array(WORDS)[random.integers(0, len(WORDS), (count, 4))]
    lengths = random.integers(10, 45, count).tolist()
    comments = [" ".join(four)[:length].strip() for four, length in zip(words.tolist(), lengths)]
    return [
        text(index // 4 + 1),
        text(random.integers(1, 200_001, count)),
        text(random.integers(1, 10_001, count)),
        text(index % 4 + 1),
        decimals(quantity * 100, 2),
        decimals(quantity * random.integers(90_000, 200_000, count), 2),
        decimals(random.integers(0, 11, count), 2),
        decimals(random.integers(0, 9, count), 2),
        chosen(random, "A N R".split(), count),
        chosen(random, "F O".split(), count),
        text(shipped),
        text(shipped + random.integers(-30, 61, count)),
        text(shipped + random.integers(1, 31, count)),
        chosen(random, ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"], count),
        chosen(random, ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"], count),
        comments,
    ]


def wide(random: np.random.Generator, first: int, count: int) -> list[list[str]]:
    """A key, then the eight types in turn."""
    columns = [text(np.arange(first + 1, first + count + 1))]
    for column in datasets.wide(1).columns[1:]:
        columns.append(with_nulls(random, wide_column(random, column.type, count)))
    return columns


def wide_column(random: np.random.Generator, type_name: str, count: int) -> list[str]:
    """Values of one type."""
    if type_name == "integer":
        return text(random.integers(-(2**31), 2**31, count))
    if type_name == "bigint":
        return text(random.integers(-(2**62), 2**62, count))
    if type_name == "numeric(12,4)":
        return decimals(random.integers(0, 10**12, count), 4)
    if type_name == "double precision":
        return text(random.integers(-(10**8), 10**8, count) / 64)  # exact also in the 15 digits that sqlite3 prints
    if type_name == "date":
        return text(np.datetime64("1970-01-01") + random.integers(0, 20_000, count))
    if type_name == "timestamp":
        moments = np.datetime64("1970-01-01T00:00:00.000000") + random.integers(0, 1_700_000_000 * 10**6, count)
        return [moment.replace("T", " ") for moment in text(moments)]
    if type_name == "char(3)":
        return ["".join(three) for three in np.array(list("ABCDEFGHIJ"))[random.integers(0, 10, (count, 3))]]
    return [" ".join(two)[:20].strip() for two in np.array(WORDS)[random.integers(0, len(WORDS), (count, 2))]]


def long_text(random: np.random.Generator, first: int, count: int) -> list[Iterator[str] | list[str]]:
    """Each body is made only when its row is written."""
    words = np.array(WORDS * 10 + ODD_WORDS)
    bodies = (
        quoted(" ".join(words[random.integers(0, len(words), LONG_CHARACTERS // 6)])[:LONG_CHARACTERS])
        for _ in range(count)
    )
    titles = chosen(random, [f"{word} {other}" for word in WORDS for other in WORDS], count)
    return [text(np.arange(first + 1, first + count + 1)), titles, bodies]


def small(random: np.random.Generator, first: int, count: int) -> list[list[str]]:
    """Names, amounts, days and notes with odd signs."""
    notes = np.array(WORDS + ODD_WORDS)[random.integers(0, len(WORDS) + len(ODD_WORDS), (count, 6))]
    return [
        text(np.arange(first + 1, first + count + 1)),
        chosen(random, [f"{word} {other}" for word in WORDS for other in WORDS], count),
        decimals(random.integers(0, 10**9, count), 2),
        text(np.datetime64("2000-01-01") + random.integers(0, 9000, count)),
        [quoted(" ".join(six)) for six in notes],
    ]


def text(values: np.ndarray) -> list[str]:
    """Numbers and dates as Python writes them, dates as ISO 8601 has it."""
    return values.astype(str).tolist() if values.dtype.kind == "M" else list(map(repr, values.tolist()))


def decimals(values: np.ndarray, scale: int) -> list[str]:
    """Whole numbers of the last digit, not negative, as decimals."""
    power = 10**scale
    return [f"{value // power}.{value % power:0{scale}}" for value in values.tolist()]


def chosen(random: np.random.Generator, choices: list[str], count: int) -> list[str]:
    """One of the choices a row."""
    return np.array(choices)[random.integers(0, len(choices), count)].tolist()


def with_nulls(random: np.random.Generator, values: list[str]) -> list[str]:
    """A tenth of the values becomes NULL."""
    return ["" if null else value for null, value in zip((random.random(len(values)) < NULL_SHARE).tolist(), values)]


def quoted(value: str) -> str:
    """A CSV field that may hold anything."""
    return '"' + value.replace('"', '""') + '"'


if __name__ == "__main__":
    sys.exit(main())
