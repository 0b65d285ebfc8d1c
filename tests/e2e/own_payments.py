"""Files of a made-up bank that are nothing like the Handbook's: the input of the README's own-data story."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 2, 20, tzinfo=UTC)
DAYS = 120
CARDS = 150
COLUMNS = (
    *("Beleg", "Zeitpunkt", "Betrag", "Waehrung", "Karte", "Kontoalter", "Entfernung", "Positionen"),
    *("Fehlversuche", "Sitzungsdauer", "Rabatt", "Limitanteil", "Geraetealter"),
    *("Kanal", "Land", "Branche", "Marke"),
)


@dataclass(frozen=True)
class Written:
    """What the files hold.

    Attributes:
        rows: Rows of the payments.
        refunds: Of them, with a negative amount.
        broken: Of them, that no mapping can read.
        chargebacks: Rows of the chargebacks.
    """

    rows: int
    refunds: int
    broken: int
    chargebacks: int


def write(folder: Path, *, rows: int, seed: int) -> Written:
    """Write ``payments.csv`` and ``chargebacks.csv``: one in fifty a fraud, told by its distance."""
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, DAYS * 86_400, rows))
    refunds = broken = 0
    chargebacks = []
    with (folder / "payments.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(COLUMNS)
        for number, second in enumerate(seconds):
            at = START + timedelta(seconds=int(second))
            is_fraud = rng.random() < 0.02
            row = _payment(f"B{number:06d}", at, rng, is_fraud=is_fraud)
            if number % 97 == 0:
                row[2], refunds = f"-{row[2]}", refunds + 1
            elif number % 1009 == 5:
                row[2], broken = "zwölf", broken + 1
            elif is_fraud:
                told = (at + timedelta(days=int(rng.integers(3, 20)))).astimezone(BERLIN)
                chargebacks.append([row[0], told.strftime("%d.%m.%Y"), "gestohlen"])
            writer.writerow(row)
    with (folder / "chargebacks.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([["Beleg", "Gemeldet", "Grund"], *chargebacks])
    return Written(rows, refunds, broken, len(chargebacks))


def _payment(receipt: str, at: datetime, rng: np.random.Generator, *, is_fraud: bool) -> list[str]:
    amount = rng.gamma(2.0, 900.0 if is_fraud else 30.0)
    return [
        receipt,
        at.astimezone(BERLIN).strftime("%d.%m.%Y %H:%M:%S"),
        _german(amount, 2),
        str(rng.choice(["EUR", "USD", "PLN"], p=[0.8, 0.15, 0.05])),
        f"tok_{rng.integers(CARDS)}",
        str(rng.integers(1, 4000)),
        _german(rng.gamma(2.0, 300.0 if is_fraud else 15.0), 1),
        str(rng.integers(1, 12)),
        str(rng.poisson(1.5 if is_fraud else 0.1)),
        _german(rng.gamma(2.0, 120.0), 1),
        "" if rng.random() < 0.3 else _german(rng.random() * 20, 2),
        _german(rng.random(), 3),
        str(rng.integers(0, 900)),
        str(rng.choice(["web", "app", "pos"], p=[0.8, 0.1, 0.1] if is_fraud else [0.2, 0.3, 0.5])),
        str(rng.choice(["DE", "PL", "US"])),
        str(rng.choice(["travel", "grocery", "electronics", "gaming", "other"])),
        str(rng.choice(["visa", "mc"])),
    ]


def _german(value: float, digits: int) -> str:
    """1234.5 as 1.234,50."""
    return f"{value:,.{digits}f}".replace(",", "_").replace(".", ",").replace("_", ".")
