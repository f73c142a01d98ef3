"""Each bit of a log's file, turned: what is wrong is named, or nothing is wrong with anything that the log says."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from es_power.audit.stored import grow
from es_power.audit.verifying import examine
from es_power.errors import EsPowerError
from tests.torture.frame import FAULTS, Bench
from tests.unit.audit.rigs import Copies, image_of, pruned_at, write_log

pytestmark = pytest.mark.torture

ASKED = (
    "SELECT * FROM records ORDER BY position",
    "SELECT stream, version, position FROM records INDEXED BY sqlite_autoindex_records_1 ORDER BY stream, version",
    "SELECT key, position FROM records INDEXED BY records_key WHERE key IS NOT NULL ORDER BY key",
    "SELECT * FROM streams ORDER BY no",
    "SELECT no FROM streams INDEXED BY sqlite_autoindex_streams_1 ORDER BY id",
    "SELECT * FROM labels ORDER BY id",
    "SELECT * FROM tree ORDER BY level, number",
    "SELECT position FROM head",
    "SELECT * FROM pruned",
    "SELECT * FROM pruned_streams ORDER BY stream",
)

NAMED, HARMLESS, SILENT = "named", "harmless", "silent"


def test_each_bit_of_a_log_is_named_or_changes_nothing(tmp_path: Path, bench: Bench) -> None:
    turn_bits("bits", image_of_a_log(tmp_path, 1_000), bench)


def test_each_bit_of_a_pruned_log_is_named_or_changes_nothing(tmp_path: Path, bench: Bench) -> None:
    with closing(write_log(tmp_path / "log.db", 1_000, labels=20)) as database:
        pruned_at(database, 600)
        image = image_of(database)

    turn_bits("pruned_bits", image, bench)


def turn_bits(fault: str, image: bytes, bench: Bench) -> None:
    bits = 8 * len(image)
    wanted = bench.count(FAULTS[fault]["quick"], bits)
    chosen = range(bits) if wanted == bits else random.Random(bench.seed).sample(range(bits), wanted)
    seen, unnoticed = turned(image, chosen)
    assert unnoticed, "SQLite alone noticed everything"

    bench.report(
        fault,
        tried=wanted,
        held=wanted - seen[SILENT],
        control=f"SQLite's own integrity_check alone: {unnoticed:,} changes not noticed",
        detail=f"{seen[NAMED]:,} named, {seen[HARMLESS]:,} harmless, of {bits:,} bits",
    )


def test_random_bits_of_a_large_log_are_named_or_change_nothing(tmp_path: Path, bench: Bench) -> None:
    wanted = bench.count(0, 100_000)
    image = image_of_a_log(tmp_path, 100_000)
    draw = random.Random(bench.seed)
    seen, unnoticed = turned(image, (draw.randrange(8 * len(image)) for _ in range(wanted)))

    bench.report(
        "flips",
        tried=wanted,
        held=wanted - seen[SILENT],
        control=f"SQLite's own integrity_check alone: {unnoticed:,} changes not noticed",
        detail=f"{seen[NAMED]:,} named, {seen[HARMLESS]:,} harmless",
    )


def image_of_a_log(tmp_path: Path, records: int) -> bytes:
    with closing(write_log(tmp_path / "log.db", records, labels=20)) as database:
        grow(database)
        return image_of(database)


def turned(image: bytes, bits: Iterable[int]) -> tuple[Counter[str], int]:
    """Turn each of these bits by itself; what was seen, and how many changes SQLite alone did not notice."""
    copies, seen, unnoticed = Copies(), Counter[str](), 0
    original = said(copies.put(image))
    assert isinstance(original, list)
    assert examine(copies.database).is_intact
    changed = bytearray(image)
    for bit in bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
        driver = copies.put(bytes(changed))
        changed[bit >> 3] ^= 1 << (bit & 7)
        try:
            kind = HARMLESS if examine(copies.database).is_intact else NAMED
        except EsPowerError:
            kind = NAMED
        if kind is HARMLESS and said(driver) != original:
            kind = SILENT
            print(f"bit {bit} is not noticed")  # noqa: T201 (so that it can be tried again)
        seen[kind] += 1
        if kind is NAMED and seen[NAMED] % 20 == 0:
            unnoticed += is_fine_to_sqlite(driver)
    return seen, unnoticed * 20


def is_fine_to_sqlite(driver: sqlite3.Connection) -> bool:
    """What there is without a chain: SQLite's own check, and that all can be read."""
    try:
        if driver.in_transaction:
            driver.rollback()
        driver.execute("SELECT * FROM records").fetchall()
        return driver.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    except (sqlite3.Error, UnicodeDecodeError):  # its words about a damaged schema hold a part of it
        return False


def said(driver: sqlite3.Connection) -> object:
    """All that a log says, by table and by index: what answers, and what proofs are made of."""
    if driver.in_transaction:
        driver.rollback()
    try:
        return [driver.execute(question).fetchall() for question in ASKED]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return repr(error)
