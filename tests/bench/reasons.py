"""What it costs to say why, a row at a time, and whether a cheaper way names the same first reason.

A model is trained on four weeks of the Handbook data for each feature set; the rows asked about are the
highest scores of four later weeks, as an alert budget picks them. ``peer`` is XGBoost's own exact
``pred_contribs``, ``approximate`` its ``approx_contribs``; each is grouped by code as ours is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import xgboost as xgb
from support.handbook_lake import CHECKOUT, ingested

from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet, load
from fraud.model import booster as boosters
from fraud.model import histogram, reason_catalogue
from fraud.model.contributions import contributions, forest
from fraud.model.reason_texts import Wording
from fraud.model.reasons import Explainer
from fraud.settings import TrainSettings
from fraud.storage.lake import Lake

FIRST = date(2018, 7, 25)
TRAIN, DELAY, TEST = timedelta(days=28), timedelta(days=7), timedelta(days=28)
WORDING = Wording("EUR", reason_catalogue.load("en", CHECKOUT / "configs" / "reasons"))
MOST = 4


@dataclass(frozen=True)
class Case:
    """A trained model and the rows to explain, shape ``(n, features)``."""

    features: FeatureSet
    booster: xgb.Booster
    alerted: np.ndarray
    usual: list[float]


def trained(lake: Lake, features: FeatureSet, rows: int, train: TrainSettings) -> Case:
    command = [Path(sys.executable).with_name("fraud"), "featurize", "--lake", lake.uri]
    subprocess.run([*command, "--features", features.name], check=True, stdout=subprocess.DEVNULL)
    seen, is_fraud = _period(lake, features, FIRST, TRAIN)
    data = xgb.QuantileDMatrix(seen, is_fraud, max_bin=train.max_bin)
    booster = xgb.train(boosters.booster_params(train), data, train.rounds)
    booster = boosters.from_json(boosters.to_json(booster), path="bench")
    later, _ = _period(lake, features, FIRST + TRAIN + DELAY, TEST)
    alerted = np.argsort(-boosters.predict(booster, later), kind="stable")[:rows]
    usual = [histogram.build(column).median for column in seen.T]
    return Case(features, booster, later[np.sort(alerted)], usual)


def _period(
    lake: Lake, features: FeatureSet, first: date, length: timedelta
) -> tuple[np.ndarray, np.ndarray]:
    table = lake.read(features.table, days=(first, first + length))
    frauds = lake.read("labels").column("transaction_id").combine_chunks()
    is_fraud = pc.is_in(table.column("transaction_id"), value_set=frauds).to_numpy()
    return matrix(table, features.names), is_fraud.astype(float)


def compared(case: Case) -> dict[str, Any]:
    booster, names = case.booster, case.features.names
    explainer, measures = Explainer(booster, case.features), case.features.measures

    def exact(rows: np.ndarray, **how: bool) -> np.ndarray:
        data = xgb.DMatrix(rows, nthread=1)
        return booster.predict(data, pred_contribs=True, validate_features=False, **how)[:, :-1]

    def approximate(rows: np.ndarray) -> np.ndarray:
        return exact(rows, approx_contribs=True)

    def served(rows: np.ndarray) -> list[dict[str, str]]:
        causes = explainer.causes(rows, most=MOST)[0]
        features = [cause.feature for cause in causes]
        return [WORDING.told(measures[names[at]], float(rows[0, at]), case.usual[at]) for at in features]

    ours = contributions(forest(booster), case.alerted)
    truth = exact(case.alerted)
    told = [causes[0].code if causes else "" for causes in explainer.causes(case.alerted, most=1)]
    peer_us, ours_us = _median_us(exact, case.alerted), _median_us(served, case.alerted)
    return {
        "ours": ours_us,
        "peer": peer_us,
        "ratio": round(peer_us / ours_us, 2),
        "score_us": _median_us(lambda rows: boosters.predict(booster, rows), case.alerted),
        "approximate_us": _median_us(approximate, case.alerted),
        "first_code_agrees": {
            "ours": _share(told, _first_codes(case.features, truth)),
            "approximate": _share(
                _first_codes(case.features, approximate(case.alerted)), _first_codes(case.features, truth)
            ),
        },
        "largest_difference": float(np.abs(ours - truth).max()),
        "alerted": len(case.alerted),
        "features": len(names),
        "leaves": len(forest(booster).value),
        "first_codes": {code: told.count(code) for code in sorted(set(told))},
    }


def _first_codes(features: FeatureSet, added: np.ndarray) -> list[str]:
    """The code with the greatest sum, written plainly."""
    codes = [measure.code for measure in features.measures.values()]
    known = list(dict.fromkeys(codes))
    sums = np.column_stack(
        [added[:, [at for at, one in enumerate(codes) if one == code]].sum(axis=1) for code in known]
    )
    return [known[place] for place in sums.argmax(axis=1)]


def _share(one: list[str], other: list[str]) -> float:
    return round(float(np.mean([a == b for a, b in zip(one, other, strict=True)])), 4)


def _median_us(run: Callable[[np.ndarray], object], rows: np.ndarray) -> float:
    """Of one row after the other, the first ones not counted."""
    spent = []
    for row in range(min(len(rows), 700)):
        one = np.ascontiguousarray(rows[row : row + 1])
        begun = time.perf_counter_ns()
        run(one)
        spent.append(time.perf_counter_ns() - begun)
    return round(float(np.median(spent[200:])) / 1000, 1)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=2_800, help="Alerted rows of four weeks: 100 a day.")
    options.add_argument("--features", nargs="+", default=["handbook", "rich"])
    options.add_argument("--depth", type=int, default=TrainSettings().max_depth)
    options.add_argument("--rounds", type=int, default=TrainSettings().rounds)
    options.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fraud-bench")
    given = options.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    train = TrainSettings(max_depth=given.depth, rounds=given.rounds, threads_per_worker=2)
    lake = ingested(given.work)
    found = {}
    for name in given.features:
        features = load(name, CHECKOUT / "configs" / "features")
        found[name] = compared(trained(lake, features, given.rows, train))
    print(json.dumps({"depth": given.depth, "rounds": given.rounds, **found}))


if __name__ == "__main__":
    main()
