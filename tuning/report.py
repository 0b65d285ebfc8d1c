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

_FACTS: Final = "report.json"
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

    def facts(self) -> dict[str, Any]:
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
                {"trial": number, **asdict(trial), "test": None}
                for number, trial in enumerate(self.trials, start=1)
            ],
        }


def write(report: Report, folder: Path, *, test: Mapping[int, float] | None = None) -> list[Path]:
    """Write the report into a folder, over the one that is there.

    Args:
        report: What the search did.
        folder: Made if missing.
        test: As for ``add_test``.

    Returns:
        The files: ``report.json`` and the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = report.facts()
    figures: dict[str, Figure] = {
        "history": pictures.history(report.trials, report.metric),
        "cost": pictures.cost(report.trials, report.metric),
    }
    if facts["importance"]:
        figures["importance"] = pictures.importance(facts["importance"])
    written = [_write_facts(folder, facts)]
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1])
    return [*written, *(add_test(folder, test) if test else ())]


def add_test(folder: Path, test: Mapping[int, float]) -> list[Path]:
    """Add to a report how some of its trials did on test, where they were measured after the choice.

    Args:
        folder: Holds the report.
        test: The report's metric on test, by the trial's number; at least one.

    Returns:
        The files: the picture of validation against test.
    """
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    for trial in facts["trials"]:
        trial["test"] = test.get(trial["trial"])
    _write_facts(folder, facts)
    shown = [trial for trial in facts["trials"] if trial["test"] is not None]
    figure = pictures.on_test(
        [trial["value"] for trial in shown], [trial["test"] for trial in shown], facts["metric"]
    )
    figure.savefig(folder / "test.png")
    return [folder / "test.png"]


def _write_facts(folder: Path, facts: Mapping[str, Any]) -> Path:
    file = folder / _FACTS
    file.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return file


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
