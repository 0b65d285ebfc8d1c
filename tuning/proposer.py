"""What is tried next: what Optuna proposes after the trials so far, or what is left of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from ray.tune.search.optuna import OptunaSearch

from fraud.settings import TrainSettings
from tuning import space
from tuning.journal import Finished
from tuning.settings import TuneSettings
from tuning.space import Range
from tuning.trial import VALUE


def planned(tune: TuneSettings) -> int:
    """Return how many trials the whole search is made of."""
    return prod(len(values) for values in tune.grid.values()) if tune.grid else tune.trials


def propose(
    tune: TuneSettings, train: TrainSettings, finished: Sequence[Finished]
) -> tuple[OptunaSearch, int]:
    """Return what proposes the trials that are left, and how many they are; no finished one is among them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = {"space": dict(distributions(tune)), "metric": VALUE, "mode": "max"}
    if tune.grid:
        ended = [trial.params for trial in finished]
        left = [each for each in space.combinations(tune.grid, train) if each not in ended]
        return OptunaSearch(points_to_evaluate=left, **known), len(left)
    search = OptunaSearch(
        # Another seed after a resume: the same one would propose the finished trials again.
        seed=tune.seed + len(finished),
        points_to_evaluate=[trial.params for trial in finished] or None,
        evaluated_rewards=[trial.value for trial in finished] or None,
        **known,
    )
    return search, max(tune.trials - len(finished), 0)


def distributions(tune: TuneSettings) -> Mapping[str, BaseDistribution]:
    """Return what Optuna draws each parameter from."""
    if tune.grid:
        return {name: CategoricalDistribution(values) for name, values in tune.grid.items()}
    return {name: _distribution(values) for name, values in space.SPACE.items()}


def _distribution(values: Range) -> BaseDistribution:
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log, step=values.step)
    return FloatDistribution(values.low, values.high, log=values.log)
