"""The whole story in one command: from simulated transactions to a served, monitored model.

Every stage calls what its own command calls, on one local Ray, in a work directory of its own. A second run
reuses what is there, as the single commands would: it ingests and featurizes nothing new.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cluster import summary, wiring
from cluster.runtime import connect
from cluster.settings import Settings
from fraud.errors import PromotionRefusedError

if TYPE_CHECKING:
    from fraud.model.bundle import Bundle
    from fraud.model.policy import Policy
    from fraud.storage.registry import ModelRef

logger = logging.getLogger(__name__)

SCORED_D = 28
"""The newest days: kept from the search and the training, scored in batch, served, monitored."""

SERVED_D = 2
"""The newest of them: the state is built as of their beginning, and their transactions are posted."""

_PROTOCOL = "handbook-prequential"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to simulate, search and post."""

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    trials: int = 4
    posted: int = 500


@dataclass(slots=True)
class Story:
    """The stages so far: what each reported, and how long it took."""

    settings: Settings
    size: Size
    tell: Callable[[str], None]
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a stage and remember its report and its time."""
        self.tell(f"{name} ...")
        started = time.monotonic()
        self.reports[name] = run()
        self.seconds[name] = round(time.monotonic() - started, 1)
        self.tell(f"{name}: {self.seconds[name]} s")
        return self.reports[name]


def run(settings: Settings, size: Size, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run all stages and write ``summary.json`` into the work directory.

    Args:
        settings: All of them; the work directory is the demo's own.
        size: How much of everything.
        tell: Called with a line of progress, and in the end with the summary for people.

    Returns:
        ``stages`` (the report of each), ``stage_seconds``, ``seconds`` and ``where``.

    Raises:
        FraudError: Any stage was refused; what earlier stages wrote stays.
    """
    started = time.monotonic()
    story = Story(settings, size, tell)
    story.tell("starting Ray ...")
    with connect(settings.ray, name="fraud demo") as session:
        story.seconds["start"] = round(time.monotonic() - started, 1)
        _data(story)
        model = _model(story)
        _use(story, *model)
    report = {
        "stages": story.reports,
        "stage_seconds": story.seconds,
        "seconds": round(time.monotonic() - started, 1),
        "where": _where(settings, session),
    }
    file = wiring.work(settings).folder / "summary.json"
    file.write_text(json.dumps(report, indent=2), encoding="utf-8")
    tell(summary.text(report))
    return report


def _where(settings: Settings, dashboard: str | None) -> dict[str, str | None]:
    work = wiring.work(settings)
    return {
        "work": str(work.folder),
        "report": str(work.reports / "monitor.html"),
        "tracking_uri": settings.mlflow.tracking_uri,
        "dashboard": dashboard,
        "endpoint": f"http://{settings.serve.host}:{settings.serve.port}",
    }


def _data(story: Story) -> None:
    """Files, tables, features."""
    from fraud.jobs import featurize, ingest, simulate  # Ray Data takes seconds to import
    from fraud.jobs.source import SourceName

    settings, size = story.settings, story.size
    lake, source = wiring.lake(settings), wiring.work(settings).folder / "source"
    story.stage(
        "simulate",
        lambda: simulate.run(source, customers=size.customers, terminals=size.terminals, days=size.days),
    )
    story.stage(
        "ingest",
        lambda: ingest.run(
            lake,
            SourceName(str(source)),
            wiring.mapping("handbook"),
            ingest=settings.ingest,
            money=settings.money,
            now=datetime.now(UTC),
        ),
    )
    story.stage("featurize", lambda: featurize.run(lake, wiring.feature_set(settings), settings.features))


def _model(story: Story) -> tuple[ModelRef, Bundle, Policy, date]:
    """Search, train the winner, let the gate decide on it; measure the published settings beside it."""
    from fraud.jobs import evaluate  # as above
    from tuning import winner

    settings = story.settings
    lake, work, registry = wiring.lake(settings), wiring.work(settings), wiring.registry(settings)
    end = _last_day(story) + timedelta(days=1 - SCORED_D)
    story.stage(
        "tune",
        lambda: winner.run(
            lake,
            wiring.feature_set(settings),
            tune=settings.tune.model_copy(update={"trials": story.size.trials}),
            train=settings.train,
            labels=settings.labels,
            policy=settings.policy,
            top_k_cards=settings.evaluate.top_k_cards,
            tracking=wiring.tracking(settings),
            registry=registry,
            storage=work.runs,
            reports=work.reports,
            end=end,
            alias="challenger",
        ),
    )
    story.stage("promote", lambda: _promote(story))
    story.stage(
        "evaluate",
        lambda: evaluate.run(
            lake,
            wiring.feature_set(settings),
            protocol=_PROTOCOL,
            train=settings.train,
            evaluate=settings.evaluate,
            labels=settings.labels,
            policy=settings.policy,
            tracking=wiring.tracking(settings),
            storage=work.runs,
        ),
    )
    ref = registry.resolve("champion")
    bundle, policy = registry.fetch(ref, work.models)
    return ref, bundle, policy, end


def _promote(story: Story) -> dict[str, Any]:
    """Ask the gate; where there is a champion of an earlier run, it stays if the new model is refused."""
    from fraud.jobs import promote  # as above

    settings, work, registry = story.settings, wiring.work(story.settings), wiring.registry(story.settings)
    try:
        return promote.run(
            wiring.lake(settings),
            registry,
            version="challenger",
            alias="champion",
            actor="fraud demo",
            reason="the demo's newest model",
            force=False,
            terms=promote.Terms(settings.promotion, settings.labels, settings.policy),
            cache=work.models,
            reports=work.reports,
        )
    except PromotionRefusedError as refused:
        if "champion" not in registry.aliases():
            raise
        return {"how": "refused", "failed": list(refused.failed), "report": refused.report}


def _use(story: Story, ref: ModelRef, bundle: Bundle, policy: Policy, first: date) -> None:
    """Score in batch, serve and compare, monitor."""
    from fraud.jobs import monitor, score  # as above

    settings = story.settings
    lake, work = wiring.lake(settings), wiring.work(settings)
    tracking = wiring.tracking(settings)
    story.stage(
        "score",
        lambda: score.run(lake, ref, bundle, policy, settings=settings.score, first=first, tracking=tracking),
    )
    story.stage("serve", lambda: _serve(story, ref, bundle))
    story.stage(
        "monitor",
        lambda: monitor.run(
            lake,
            bundle.feature_set,
            bundle.reference,
            model_version=ref.version,
            as_of=None,
            labels=settings.labels,
            monitor=settings.monitor,
            report_dir=work.reports,
            tracking=wiring.tracking(settings),
        ),
    )


def _serve(story: Story, ref: ModelRef, bundle: Bundle) -> dict[str, Any]:
    """Serve the champion as of the newest days, post their transactions, compare with the batch."""
    from cluster import replay, service  # Ray Serve reads its environment when it is imported
    from fraud.jobs import state

    settings, work = story.settings, wiring.work(story.settings)
    first = _last_day(story) - timedelta(days=SERVED_D - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    replayed = work.folder / "replay"
    built = state.build(wiring.lake(settings), [bundle.feature_set], replayed / "state", as_of=since)
    with service.running(settings, ref, state=replayed / "state", journal=replayed / "journal") as url:
        compared = replay.run(
            wiring.lake(settings),
            bundle.feature_set,
            url=url,
            since=since,
            rows=story.size.posted,
            model_version=ref.version,
        )
    return {"url": url, "state": built, "replay": compared}


def _last_day(story: Story) -> date:
    return datetime.fromisoformat(story.reports["simulate"]["last_event_time"]).date()
