"""The report of a search: every trial, how it went, what mattered, and how the choice does on test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from fraud.model.split import Fold
from tuning import pictures
from tuning.journal import Finished

FEWEST: Final = 8
"""Of fewer trials nobody can say which parameter mattered."""


@dataclass(frozen=True)
class Report:
    """What a search did.

    Attributes:
        search: Its name, see ``Journal``.
        metric: What the trials' values are: means over the folds.
        protocol: The published weeks it selected on, empty for the newest days.
        folds: Days of training and validation.
        trials: In the order they ended; number 1 is the first.
        space: What each parameter was drawn from.
    """

    search: str
    metric: str
    protocol: str
    folds: tuple[Fold, ...]
    trials: tuple[Finished, ...]
    space: Mapping[str, BaseDistribution]

    @property
    def best(self) -> int:
        """The number of the best trial, the first of equals."""
        return 1 + max(range(len(self.trials)), key=lambda place: self.trials[place].value)

    def facts(self, test: Mapping[int, float]) -> dict[str, Any]:
        """Return the report without its pictures, JSON-able."""
        return {
            "search": self.search,
            "metric": self.metric,
            "protocol": self.protocol or None,
            "folds": [
                {"train": [str(day) for day in fold.train], "validation": [str(day) for day in fold.test]}
                for fold in self.folds
            ],
            "best": self.best,
            "importance": importance(self.trials, self.space),
            "trials": [
                {"trial": number, **asdict(trial), "test": test.get(number)}
                for number, trial in enumerate(self.trials, start=1)
            ],
        }


def write(report: Report, folder: Path, *, test: Mapping[int, float] | None = None) -> list[Path]:
    """Write the report into a folder, over the one that is there.

    Args:
        report: What the search did.
        folder: Made if missing.
        test: The same metric on test for some trials by number, where they were measured afterwards. The
            choice was made without them.

    Returns:
        The files: ``report.json`` and the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = dict(test or {})
    facts = report.facts(measured)
    figures: dict[str, Figure] = {
        "history": pictures.history(report.trials, report.metric),
        "cost": pictures.cost(report.trials, report.metric),
    }
    if facts["importance"]:
        figures["importance"] = pictures.importance(facts["importance"])
    if measured:
        validation = [report.trials[number - 1].value for number in measured]
        figures["test"] = pictures.on_test(validation, list(measured.values()), report.metric)
    written = [folder / "report.json"]
    written[0].write_text(json.dumps(facts, indent=1), encoding="utf-8")
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1])
    return written


def importance(trials: Sequence[Finished], space: Mapping[str, BaseDistribution]) -> dict[str, float]:
    """Return the share of the values' variance that each parameter explains, the largest first.

    Source: Hutter, Hoos, Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, 2014
    (fANOVA), as Optuna computes it.

    Args:
        trials: At least ``FEWEST``; of fewer, or where all are equally good, nothing is said.
        space: What each parameter was drawn from.
    """
    if len(trials) < FEWEST or len({trial.value for trial in trials}) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [create_trial(params=trial.params, distributions=dict(space), value=trial.value) for trial in trials]
    )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}
