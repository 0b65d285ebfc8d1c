"""The monitor as one HTML file that needs nothing else: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Final

from fraud.monitor import chart
from fraud.monitor.chart import Series
from fraud.monitor.drift import JUDGED_ROWS, SHARE_FLOOR, Drift, judged_week
from fraud.monitor.performance import Performance
from fraud.monitor.style import CSS

WEEKS: Final = 26
"""The newest weeks shown; the tables of the lake keep all of them."""

_WATCH: Final = 0.1
"""By custom a population stability index above it is worth a look."""

_COLUMNS: Final = (
    "Transactions",
    "Unknown",
    "Unobservable",
    "Frauds",
    "Alerts",
    "Precision",
    "Recall",
    "F1",
    "AP",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the page shows.

    Attributes:
        as_of: Nothing known later was used (UTC).
        model_version: The model whose reference the drift is measured against.
        maturity_d: Days after which a transaction without a label is presumed genuine.
        psi_alert: A population stability index above it is drift.
        performance: By week and model, weeks ascending.
        drift: By week and feature, weeks ascending.
    """

    as_of: datetime
    model_version: str
    maturity_d: int
    psi_alert: float
    performance: tuple[Performance, ...]
    drift: tuple[Drift, ...]

    def is_matured(self, row: Performance) -> bool:
        """Whether a week holds measured transactions and nothing provisional."""
        return row.matured > 0 and not row.is_provisional(self.as_of)

    def newest_matured(self) -> Performance | None:
        """The model's newest week that is matured, if there is one."""
        own = [row for row in self.performance if row.model_version == self.model_version]
        return next((row for row in reversed(own) if self.is_matured(row)), None)

    def judged(self) -> tuple[Drift, ...]:
        """The newest week fit to be judged, the largest index first; empty where there is none."""
        week = judged_week(self.drift, self.as_of)
        return tuple(sorted((row for row in self.drift if row.week == week), key=lambda row: -row.psi))

    def drifted(self) -> tuple[str, ...]:
        """The names above the threshold in the judged week, the largest index first."""
        return tuple(row.name for row in self.judged() if row.is_drifted(self.psi_alert))


def render(findings: Findings) -> str:
    """Return the page."""
    as_of = f"{findings.as_of:%Y-%m-%d %H:%M} UTC"
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Fraud monitor, {as_of}</title><style>{CSS}</style></head><body><main>",
            "<header><h1>Fraud monitor</h1>",
            f"<p>Model version {escape(findings.model_version)}, on what was known on {as_of}.</p></header>",
            _tiles(findings),
            _chart(findings),
            _performance(findings),
            _drift(findings),
            _definitions(findings),
            "</main></body></html>\n",
        ]
    )


def _tiles(findings: Findings) -> str:
    newest, judged = findings.newest_matured(), findings.judged()
    if newest is None:
        tiles = [_tile("none yet", "matured weeks of this model")]
    else:
        when = f"week of {newest.week:%d %b %Y}"
        tiles = [
            _tile(_ratio(newest.precision), f"precision, {when}"),
            _tile(_ratio(newest.recall), f"recall, {when}"),
            _tile(_ratio(newest.f1), f"F1, {when}"),
            _tile(_ratio(newest.average_precision), f"average precision, {when}"),
        ]
    if judged:
        of = f"of {len(judged)} distributions drifted, week of {judged[0].week:%d %b %Y}"
        tiles.append(_tile(str(len(findings.drifted())), of))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(value: str, text: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>'


def _chart(findings: Findings) -> str:
    rows = [row for row in findings.performance if row.model_version == findings.model_version][-WEEKS:]
    if not rows:
        return ""
    series = [
        Series("Precision", "precision", tuple(row.precision for row in rows)),
        Series("Recall", "recall", tuple(row.recall for row in rows)),
        Series("F1", "f1", tuple(row.f1 for row in rows)),
    ]
    legend = "".join(f"<span>{chart.mark(line)}{line.name}</span>" for line in series)
    drawing = chart.measures(
        [f"{row.week:%d %b}" for row in rows], [row.is_provisional(findings.as_of) for row in rows], series
    )
    return (
        "<section><h2>Precision, recall and F1 by week</h2>"
        f'<div class="legend">{legend}<span>shaded, hollow: provisional</span></div>'
        f'<div class="scroll">{drawing}</div></section>'
    )


def _performance(findings: Findings) -> str:
    weeks = sorted({row.week for row in findings.performance})[-WEEKS:]
    rows = [row for row in findings.performance if row.week in weeks]
    newest_first = sorted(rows, key=lambda row: (row.week, row.model_version), reverse=True)
    heads = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    body = "".join(_performance_row(row, findings.as_of) for row in newest_first)
    return (
        "<section><h2>Performance on matured labels</h2>"
        "<p>A week is provisional while it is not over, or the truth of some of its transactions is unknown. "
        "A fraud may be reported early, while a transaction without a label is presumed genuine only after "
        f"{_days(findings.maturity_d)}: until then the measures tend to look better than they will be.</p>"
        '<div class="scroll"><table><thead><tr><th scope="col" class="text">Week of</th>'
        f'<th scope="col" class="text">State</th><th scope="col" class="text">Model</th>{heads}</tr></thead>'
        f"<tbody>{body or _nothing(len(_COLUMNS) + 3, 'No live scores up to this instant.')}</tbody>"
        "</table></div></section>"
    )


def _performance_row(row: Performance, as_of: datetime) -> str:
    counts = (f"{row.unobservable:,}", f"{row.frauds:,}", f"{row.alerts:,}")
    ratios = (_ratio(value) for value in (row.precision, row.recall, row.f1, row.average_precision))
    cells = [f"{row.transactions:,}", _share(row.unknown_share), *counts, *ratios]
    style, state = ("open", "provisional") if row.is_provisional(as_of) else ("settled", "matured")
    return (
        f'<tr class="{state}"><th scope="row" class="text">{row.week:%d %b %Y}</th>'
        f'<td class="text state {style}">{state}</td><td class="text">{escape(row.model_version)}</td>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _drift(findings: Findings) -> str:
    weeks = sorted({row.week for row in findings.drift})[-WEEKS:]
    judged = findings.judged()
    shown = judged or tuple(row for row in findings.drift if weeks and row.week == weeks[-1])
    when = f"Week of {shown[0].week:%d %b %Y}" if shown else "No week"
    note = f"{when} against the rows the model was trained on; dashed: the threshold {findings.psi_alert:g}."
    if shown and not judged:
        note += f" No week is over and has {JUDGED_ROWS} rows, so nothing is judged yet."
    body = "".join(_drift_row(row, findings, weeks, is_judged=bool(judged)) for row in shown)
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("PSI", "Rows", "Missing"))
    return (
        f"<section><h2>Drift of features and score</h2><p>{note}</p>"
        f'<div class="scroll"><table><thead><tr><th scope="col" class="text">Distribution</th>{heads}'
        '<th scope="col" class="text">State</th><th scope="col">PSI by week</th></tr></thead>'
        f"<tbody>{body or _nothing(6, 'No features up to this instant.')}</tbody></table></div></section>"
    )


def _drift_row(row: Drift, findings: Findings, weeks: Sequence[date], *, is_judged: bool) -> str:
    history = [
        each.psi for each in findings.drift if each.name == row.name and weeks[0] <= each.week <= weeks[-1]
    ]
    style, state = _state(row, findings.psi_alert) if is_judged else ("unjudged", "not judged")
    return (
        f'<tr><th scope="row" class="text">{escape(row.name)}</th><td>{row.psi:.3f}</td><td>{row.rows:,}</td>'
        f'<td>{_share(row.missing_share)}</td><td class="text state {style}">{state}</td>'
        f"<td>{chart.sparkline(history, findings.psi_alert)}</td></tr>"
    )


def _state(row: Drift, threshold: float) -> tuple[str, str]:
    if row.is_drifted(threshold):
        return "drift", "drift"
    if row.rows < JUDGED_ROWS:
        return "unjudged", "too few rows"
    return ("watch", "watch") if row.psi > _WATCH else ("stable", "stable")


def _definitions(findings: Findings) -> str:
    return (
        "<footer><p><b>Definitions.</b> Weeks run from Monday to Sunday, UTC, by the time of the "
        "transaction. Alerts were reviewed or declined. Precision is the share of alerts that were fraud, "
        "recall the share of frauds that were alerts, F1 their harmonic mean, AP (average precision) the "
        "mean precision over all thresholds of the score. All of them, and the counts of frauds and alerts, "
        f"are of transactions with a label, or without one for {_days(findings.maturity_d)}. Unobservable "
        "ones were declined or reversed and never show whether they were fraud. A dash means not defined: "
        "no alerts, or no frauds. PSI (population stability index) sums (c - r) ln(c / r) over bins, c and "
        "r being the shares of the week and of the training rows; missing values are one bin, and an empty "
        f"bin counts as {SHARE_FLOOR:.2%}. Above {findings.psi_alert:g} is drift, above {_WATCH:g} worth a "
        "look.</p></footer>"
    )


def _nothing(columns: int, text: str) -> str:
    return f'<tr><td class="text" colspan="{columns}">{text}</td></tr>'


def _ratio(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    if value == 0:
        return "0 %"
    return "&lt;0.1 %" if value < 0.001 else f"{value * 100:.1f} %"


def _days(n: int) -> str:
    return f"{n} day" if n == 1 else f"{n} days"
