"""The demo's report as a page of text."""

from __future__ import annotations

from typing import Any

_RULE = "─" * 78


def text(report: dict[str, Any]) -> str:
    """Return the summary for people: counts, published figures beside ours, times, where to look next."""
    return "\n".join(
        [
            _RULE,
            *_data(report),
            "",
            *_quality(report),
            "",
            *_service(report),
            "",
            *_times(report),
            _RULE,
            *_next(report["where"]),
            _RULE,
        ]
    )


def _data(report: dict[str, Any]) -> list[str]:
    stages = report["stages"]
    simulated, ingested, score = stages["simulate"], stages["ingest"], stages["score"]
    return [
        f"simulated   {simulated['transactions']:>11,} transactions, {simulated['frauds']:,} frauds",
        f"ingested    {ingested['transactions']:>11,} new, {ingested['rejected']:,} refused, "
        f"{ingested['files_skipped']} known files skipped",
        f"featurized  {stages['featurize']['transactions']:>11,} new, "
        f"{stages['featurize']['features']} features each",
        f"scored      {score['scored']:>11,} of the newest 28 days: "
        + ", ".join(f"{count:,} {decision}" for decision, count in score["decisions"].items()),
    ]


def _quality(report: dict[str, Any]) -> list[str]:
    measured = report["stages"]["evaluate"]
    published = measured["published"]
    lines = ["prequential, four weeks, 15 features, 100 trees       ours      published (simulated data)"]
    for name in ("auc_roc", "average_precision", "card_precision_100"):
        ours, theirs = measured[name], published[name]
        lines.append(
            f"  {name:<44}{ours['mean']:.4f}±{ours['std']:.4f}  {theirs['mean']:.4f}±{theirs['std']:.4f}"
        )
    trained = report["stages"]["tune"]["train"]
    lines.append(
        f"challenger: version {trained['model_version']}, average precision "
        f"{trained['average_precision']:.4f} on its calibration week; {_gate(report['stages']['promote'])}"
    )
    lines.append("Simulated frauds are far easier than real ones: on a bank's own data the same method")
    lines.append("reached an average precision near 0.1.")
    return lines


def _gate(promotion: dict[str, Any]) -> str:
    if promotion["how"] == "refused":
        return f"the gate keeps the champion before ({promotion['report']})"
    return "it passed the gate and is champion"


def _service(report: dict[str, Any]) -> list[str]:
    replayed = report["stages"]["serve"]["replay"]
    monitored = report["stages"]["monitor"]
    newest = monitored["newest_matured"] or {}
    lines = [
        f"served      {replayed['posted']:,} transactions one by one: {replayed['equal']:,} answers equal to "
        "the batch, exactly",
        f"            p50 {replayed['p50_ms']} ms, p99 {replayed['p99_ms']} ms, one client",
    ]
    if newest:
        lines.append(
            f"monitored   week of {newest['week']}: precision {_share(newest['precision'])}, "
            f"recall {_share(newest['recall'])}, F1 {_share(newest['f1'])}"
        )
    return lines


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _times(report: dict[str, Any]) -> list[str]:
    stages = ", ".join(f"{name} {seconds}" for name, seconds in report["stage_seconds"].items())
    return [f"{report['seconds']} s in all: {stages}"]


def _next(where: dict[str, str | None]) -> list[str]:
    return [
        f"report       {where['report']}",
        f"MLflow UI    .venv/bin/mlflow ui --backend-store-uri {where['tracking_uri']}",
        "endpoint     make serve   (prints a ready curl line; stop it with Ctrl-C)",
        f"dashboard    {where['dashboard'] or 'off'} while Ray runs: during make demo and make serve",
    ]
