"""Promote: measure a model beside the champion on later days, and let it take the place where it may."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fraud.errors import NotEnoughDataError, PromotionRefusedError, VerificationError
from fraud.features.spec import FeatureSet
from fraud.jobs import proof, state_ready, verify_features
from fraud.jobs.contest import contest, later_days
from fraud.model import gate
from fraud.model.bundle import Bundle, golden_rows
from fraud.model.gate import Check, Contender, Rows, Verdict
from fraud.model.policy import Policy, prices
from fraud.settings import LabelSettings, PolicySettings, PromotionSettings
from fraud.storage.lake import Lake
from fraud.storage.promotions import CHAMPION, FORCED, GATE, PLAIN, require_reason

if TYPE_CHECKING:  # MLflow costs seconds and is no use to the tasks that score
    from fraud.storage.registry import ModelRef, Registry

UNCHANGED: Final = "unchanged"
"""The alias points there already."""

_TIMED: Final = 300
"""Rows scored one by one to measure how long one takes."""


@dataclass(frozen=True)
class Model:
    """A version that takes part.

    Attributes:
        ref: As the registry knows it.
        bundle: Verified.
        policy: In force for it.
    """

    ref: ModelRef
    bundle: Bundle
    policy: Policy


@dataclass(frozen=True, slots=True)
class Terms:
    """What a model is held to.

    Attributes:
        promotion: The limits.
        labels: When truth is known.
        policy: What decisions cost.
        first: First day to compare on; None: as many of the newest as the settings say.
        last: The day after the last one; None: the last day whose truth is known.
    """

    promotion: PromotionSettings
    labels: LabelSettings
    policy: PolicySettings
    first: date | None = None
    last: date | None = None


def run(
    lake: Lake,
    registry: Registry,
    *,
    version: str,
    alias: str,
    actor: str,
    reason: str,
    force: bool,
    terms: Terms,
    cache: Path,
    reports: Path,
    state: Path | None = None,
) -> dict[str, Any]:
    """Point an alias at a version; the champion has to pass the gate, whose report is kept either way.

    Args:
        lake: Holds transactions, labels and the features of both models.
        registry: Holds both.
        version: A version or an alias.
        alias: What to point at it.
        actor: Who asks.
        reason: Why.
        force: Leave the gate out, and note that.
        terms: What a champion is held to.
        cache: Folder of verified copies of models.
        reports: Folder for the report.
        state: Folder of the online state that will serve the model; where there is none, it is not looked at.

    Returns:
        ``alias``, ``model``, ``model_version``, ``digest``, ``from``, ``how``, ``report`` (a file) and
        ``gate`` (the report itself); both None where no gate was asked.

    Raises:
        PromotionRefusedError: It fails a check; the message says which, and where the report is.
        ConfigError: Actor or reason is empty.
        ModelNotFoundError: There is no such version.
        BundleError: What the registry holds is not what it says.
        ChangedMeanwhileError: Another model became champion meanwhile.
    """
    require_reason(actor, reason)
    model, present = _fetch(registry, version, cache), registry.aliases().get(alias)
    done: dict[str, Any] = {
        **model.ref.named(alias),
        "from": present,
        "how": PLAIN,
        "report": None,
        "gate": None,
    }
    if present == model.ref.version:
        registry.settle(alias)
        return {**done, "how": UNCHANGED}
    kept = None
    if force:
        done["how"] = FORCED
    elif alias == CHAMPION:
        champion = _fetch(registry, present, cache) if present else None
        with TemporaryDirectory() as drawings:
            report = _report(lake, model, champion, terms, Path(drawings), state=state)
            report |= {"actor": actor, "reason": reason}
            kept = registry.note_report(model.ref, report, Path(drawings))
        file = _write(report, reports)
        if not report["passed"]:
            raise PromotionRefusedError(model.ref.name, model.ref.version, report["failed"], str(file))
        done |= {"how": GATE, "report": str(file), "gate": report}
    how = str(done["how"])
    registry.set_alias(alias, model.ref.version, actor, reason, how=how, report=kept, expected=present)
    return done


def _report(
    lake: Lake, model: Model, champion: Model | None, terms: Terms, drawings: Path, *, state: Path | None
) -> dict[str, Any]:
    """What was measured of a model beside the champion, as JSON values; drawings go into a folder."""
    measured, checks = _compare(lake, model, champion, terms, drawings)
    checks.append(gate.quick(_latency_ms(model), terms.promotion))
    checks.append(_proved(lake, model.bundle.feature_set, terms.promotion.proof_days))
    if state is not None and state.is_dir():
        checks.append(
            state_ready.check(
                lake,
                state,
                model.bundle.feature_set,
                max_lag_s=terms.promotion.max_state_lag_s,
                now=datetime.now(UTC),
            )
        )
    verdict = Verdict(tuple(checks))
    return {
        "model": model.ref.name,
        "model_version": model.ref.version,
        "digest": model.ref.digest,
        "champion": champion.ref.version if champion else None,
        "at": datetime.now(UTC).isoformat(),
        "evaluation": measured,
        "limits": terms.promotion.model_dump(),
        "failed": verdict.failed,
        **verdict.to_json(),
    }


def _fetch(registry: Registry, reference: str, cache: Path) -> Model:
    ref = registry.resolve(reference)
    return Model(ref, *registry.fetch(ref, cache))


def _compare(
    lake: Lake, challenger: Model, champion: Model | None, terms: Terms, drawings: Path
) -> tuple[dict[str, Any], list[Check]]:
    """Compare on later days; that there are none, or too few rows, is a check that fails."""
    models = [(model.bundle, model.policy) for model in (challenger, champion) if model]
    maturity_d = terms.labels.label_maturity_d
    try:
        period = later_days(
            lake,
            [bundle for bundle, _ in models],
            maturity_d=maturity_d,
            most=terms.promotion.evaluation_d,
            first=terms.first,
            last=terms.last,
        )
        rows, contenders = contest(lake, models, period, maturity_d=maturity_d)
    except NotEnoughDataError as error:
        return {}, [Check("later_rows", None, None, passed=False, says=str(error))]
    _draw(rows, contenders, drawings)
    count, frauds = len(rows.is_fraud), int(np.count_nonzero(rows.is_fraud))
    measured = {
        "first": period.first.isoformat(),
        "last": (period.last - timedelta(days=1)).isoformat(),
        "as_of": period.as_of.isoformat(),
        "rows": count,
        "frauds": frauds,
    }
    checks = [gate.enough(count, frauds, terms.promotion)]
    if checks[0].passed:
        checks += gate.judge(
            rows,
            contenders[0],
            contenders[1] if champion else None,
            costs=prices(terms.policy),
            settings=terms.promotion,
        )
    return measured, checks


def _draw(rows: Rows, contenders: Sequence[Contender], folder: Path) -> None:
    """Ranking of both models, calibration of the challenger."""
    from fraud.model import precision_recall_plot, reliability_plot  # matplotlib is no use to the workers

    if not 0 < np.count_nonzero(rows.is_fraud) < len(rows.is_fraud):
        return
    scores = {name: each.score for name, each in zip(("challenger", "champion"), contenders, strict=False)}
    precision_recall_plot.draw(rows.is_fraud, scores, folder / "precision_recall.png")
    reliability_plot.draw(contenders[0].probability, rows.is_fraud, folder / "reliability.png")


def _latency_ms(model: Model) -> float:
    """The median time from features to a decision, one row at a time."""
    bundle = model.bundle
    matrix = golden_rows(bundle.reference, bundle.feature_set.names)
    amount, times = np.array([10_000], np.int64), []
    for number in range(_TIMED):
        row = matrix[number % len(matrix)].reshape(1, -1)
        started = time.perf_counter()
        model.policy.decide(bundle.probabilities(bundle.scores(row)), amount)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _proved(lake: Lake, feature_set: FeatureSet, days: int) -> Check:
    """Check that online equals batch and nothing looks ahead: by a proof of these features, or now."""
    found = proof.newest(lake, feature_set)
    try:
        if not proof.holds(lake, feature_set, found):
            verify_features.run(lake, feature_set, days=days)
            found = proof.newest(lake, feature_set)
    except (VerificationError, NotEnoughDataError) as error:
        return Check("features_proved", None, None, passed=False, says=str(error))
    rows, last = (found["rows"], found["last_day"]) if found else (0, None)
    says = f"{rows} rows of days up to {last} equal their replay, their past alone and their definition"
    return Check("features_proved", rows, None, passed=True, says=says)


def _write(report: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"gate-{report['model_version']}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    file.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return file
