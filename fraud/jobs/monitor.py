"""Monitor: performance by week on the truth known at an instant, drift by week, and a page of both."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import ray

from fraud import schema
from fraud.errors import ConfigError, NotEnoughDataError
from fraud.features.spec import FeatureSet
from fraud.jobs import examples, monitor_days
from fraud.jobs.monitor_days import DayFiles, MonitorDay
from fraud.model import histogram
from fraud.model.histogram import Histogram
from fraud.monitor import drift, page, performance
from fraud.monitor.drift import Drift
from fraud.monitor.page import Findings
from fraud.monitor.performance import Performance, Tally
from fraud.monitor.week import monday
from fraud.settings import LabelSettings, MonitorSettings
from fraud.storage.lake import Lake, Part
from fraud.storage.tracking import Tracking

logger = logging.getLogger(__name__)

PAGE: Final = "monitor.html"
_MEASURES: Final = ("precision", "recall", "f1", "average_precision")


def run(
    lake: Lake,
    feature_set: FeatureSet,
    reference: Mapping[str, Histogram],
    *,
    model_version: str,
    as_of: datetime | None,
    labels: LabelSettings,
    monitor: MonitorSettings,
    report_dir: Path,
    tracking: Tracking | None = None,
) -> dict[str, Any]:
    """Measure every week up to an instant and write the tables and the page.

    Run again with the same instant and model, it writes the page anew and adds nothing to the tables.

    Args:
        lake: Holds ``transactions``, the features and, where there are any, ``scores`` and ``labels``.
        feature_set: The model's.
        reference: The model's histograms by feature name, and ``score``.
        model_version: The model whose drift is measured; performance is of every model that scored live.
        as_of: Only facts known by this instant count; None is the newest event time, when the data end.
        labels: When a transaction without a label is presumed genuine.
        monitor: The drift threshold.
        report_dir: Where ``monitor.html`` goes.
        tracking: Where to note the newest matured week and the page; None notes nothing.

    Returns:
        ``as_of``, ``as_of_from`` (given or newest_event), ``model_version``, ``weeks`` and ``matured_weeks``
        (the model's, counted), ``newest_matured`` (week, counts and measures, or None),
        ``judged_week``, ``drifted`` and ``psi_max`` (of that week; None where no week is over and large
        enough), ``performance_rows`` and ``drift_rows`` (added to the tables), ``page``, ``run_id`` and
        ``seconds``.

    Raises:
        ConfigError: ``as_of`` has no time zone.
        TableNotFoundError: There are no transactions or no features of this set.
        NotEnoughDataError: There are no transactions up to the instant.
    """
    started = time.monotonic()
    if as_of is not None and as_of.tzinfo is None:
        raise ConfigError("as_of", f"{as_of} has no time zone: write it with one, such as +00:00")
    versions = examples.pin(lake, feature_set)
    instant = _newest_event(lake, versions) if as_of is None else as_of.astimezone(UTC)
    reader = _reader(
        lake,
        feature_set,
        versions,
        edges={name: each.edges for name, each in reference.items()},
        model_version=model_version,
        as_of=instant,
        maturity=timedelta(days=labels.label_maturity_d),
    )
    logger.info("monitoring", extra={"as_of": instant.isoformat(), "days": len(reader.days)})
    measured, drifts = _measure(reader, reference)
    findings = Findings(
        instant, model_version, labels.label_maturity_d, monitor.psi_alert, tuple(measured), tuple(drifts)
    )
    run_id = uuid4().hex
    added = _write(lake, findings, run_id)
    file = _write_page(report_dir, findings)
    source = {"as_of_from": "newest_event" if as_of is None else "given"}
    report = {**_report(findings), **source, **added, "page": str(file), "run_id": run_id}
    if tracking is not None:
        _track(tracking, report, file)
    return {**report, "seconds": round(time.monotonic() - started, 3)}


def _newest_event(lake: Lake, versions: Mapping[str, int]) -> datetime:
    _, end = examples.days(lake, versions)
    parts = lake.parts(schema.TRANSACTIONS, version=versions[schema.TRANSACTIONS])
    newest = [part for part in parts if part.event_date == end - timedelta(days=1) and part.rows > 0]
    times = [lake.read_part(schema.TRANSACTIONS, part, ["event_time"]).column(0) for part in newest]
    instant: datetime = max(pc.max(column).as_py() for column in times)
    return instant.astimezone(UTC)


def _reader(
    lake: Lake,
    feature_set: FeatureSet,
    versions: Mapping[str, int],
    *,
    edges: Mapping[str, tuple[float, ...]],
    model_version: str,
    as_of: datetime,
    maturity: timedelta,
) -> MonitorDay:
    days = _days(lake, feature_set, versions, as_of)
    if not days:
        raise NotEnoughDataError(f"the lake has no transactions up to {as_of:%Y-%m-%d}: take a later instant")
    first, last = days[0].event_date, days[-1].event_date + timedelta(days=1)
    return MonitorDay(
        lake=lake,
        features_table=feature_set.table,
        names=feature_set.names,
        edges=edges,
        model_version=model_version,
        days=tuple(days),
        labels=ray.put(examples.labels_of(lake, versions, first=first, last=last)),
        as_of_us=examples.micros(as_of),
        maturity_us=maturity // timedelta(microseconds=1),
    )


def _days(
    lake: Lake, feature_set: FeatureSet, versions: Mapping[str, int], as_of: datetime
) -> list[DayFiles]:
    files: dict[str, dict[date, list[Part]]] = {}
    scores = lake.version(schema.SCORES)
    pinned = dict(versions) if scores is None else {**versions, schema.SCORES: scores}
    for name in (schema.TRANSACTIONS, feature_set.table, schema.SCORES):
        files[name] = {}
        for part in lake.parts(name, version=pinned[name]) if name in pinned else []:
            if part.event_date is not None and part.event_date <= as_of.date():
                files[name].setdefault(part.event_date, []).append(part)
    days = sorted({*files[schema.TRANSACTIONS], *files[schema.SCORES]})
    return [
        DayFiles(
            day,
            tuple(files[schema.TRANSACTIONS].get(day, ())),
            tuple(files[feature_set.table].get(day, ())),
            tuple(files[schema.SCORES].get(day, ())),
        )
        for day in days
    ]


def _measure(reader: MonitorDay, reference: Mapping[str, Histogram]) -> tuple[list[Performance], list[Drift]]:
    tallies: dict[tuple[date, str], list[Tally]] = {}
    histograms: dict[tuple[date, str], list[Histogram]] = {}
    for day, *found in monitor_days.read(reader):
        week = monday(day)
        match found:
            case [str() as model, Tally() as tally]:
                tallies.setdefault((week, model), []).append(tally)
            case [dict() as counted]:
                for name, each in counted.items():
                    histograms.setdefault((week, name), []).append(each)
    measured = [
        performance.measure(week, model, performance.merge(parts))
        for (week, model), parts in sorted(tallies.items())
    ]
    merged = {key: reduce(histogram.add, parts) for key, parts in sorted(histograms.items())}
    drifts = [
        drift.compare(week, name, reference[name], current)
        for (week, name), current in merged.items()
        if current.rows and reference[name].rows
    ]
    return measured, drifts


def _write(lake: Lake, findings: Findings, run_id: str) -> dict[str, int]:
    """Add the rows that are not there yet, one commit a table; return how many."""
    stamp = {"as_of": findings.as_of, "run_id": run_id}
    measured = [{**asdict(row), **stamp} for row in findings.performance]
    drifts = [{**asdict(row), **stamp, "model_version": findings.model_version} for row in findings.drift]
    return {
        "performance_rows": _add(
            lake, schema.MONITOR_PERFORMANCE, measured, schema.MONITOR_PERFORMANCE_SCHEMA
        ),
        "drift_rows": _add(lake, schema.MONITOR_DRIFT, drifts, schema.MONITOR_DRIFT_SCHEMA),
    }


def _add(lake: Lake, name: str, rows: Sequence[dict[str, Any]], kind: pa.Schema) -> int:
    key = ("as_of", "week", "model_version")
    known = lake.read(name, columns=key).to_pylist() if lake.exists(name) else []
    present = {tuple(row[column] for column in key) for row in known}
    new = [row for row in rows if tuple(row[column] for column in key) not in present]
    if new:
        lake.append(name, pa.Table.from_pylist(new, schema=kind))
    return len(new)


def _write_page(report_dir: Path, findings: Findings) -> Path:
    report_dir.mkdir(parents=True, exist_ok=True)
    file = report_dir / PAGE
    file.write_text(page.render(findings), encoding="utf-8")
    return file


def _report(findings: Findings) -> dict[str, Any]:
    own = [row for row in findings.performance if row.model_version == findings.model_version]
    newest, judged = findings.newest_matured(), findings.judged()
    return {
        "as_of": findings.as_of.isoformat(),
        "model_version": findings.model_version,
        "weeks": len(own),
        "matured_weeks": len([row for row in own if findings.is_matured(row)]),
        "newest_matured": None if newest is None else {**asdict(newest), "week": newest.week.isoformat()},
        "judged_week": judged[0].week.isoformat() if judged else None,
        "drifted": list(findings.drifted()),
        "psi_max": judged[0].psi if judged else None,
    }


def _track(tracking: Tracking, report: Mapping[str, Any], file: Path) -> None:
    tags = {
        "job": "monitor",
        "model_version": str(report["model_version"]),
        "monitor_run_id": report["run_id"],
    }
    newest = report["newest_matured"] or {}
    metrics = {name: newest[name] for name in _MEASURES if newest.get(name) is not None}
    metrics |= {"drifted": len(report["drifted"]), "matured_weeks": report["matured_weeks"]}
    if report["psi_max"] is not None:
        metrics["psi_max"] = report["psi_max"]
    with tracking.run(f"monitor {report['as_of'][:10]}", tags=tags) as noted:
        noted.params({"as_of": report["as_of"], "newest_matured": newest.get("week")})
        noted.metrics(metrics)
        noted.file(file)
