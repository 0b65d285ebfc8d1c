"""The views of the mart, in the SQL that PostgreSQL and DuckDB share: what one says, the other says.

Knowledge is told by whole UTC days: ``as_of`` a day means what was known when it began. A fact of that very
instant is known, see ``fraud.model.truth``.
"""

from __future__ import annotations

from typing import Final

from fraud.mart.table import ADDS, AVERAGES, WITHIN_AS_OF, Column, Table, View, quoted
from fraud.schema import DECLINED, REVERSED

_NEVER: Final = "date '9999-12-31'"

_AS_OF: Final = Column("as_of", "date", "Counted is what was known when this UTC day began.")
_WEEK: Final = Column("week", "date", "The Monday of the week the transactions happened in, UTC.")
_MODEL: Final = Column("model_version", "text", "The model's version, see `dim_model`.")


def _known_from(instant: str) -> str:
    """SQL of the first day that begins at an instant or after it."""
    return f"cast(({instant} at time zone 'UTC') + interval '1 day' - interval '1 microsecond' as date)"


DATE: Final = View(
    name="dim_date",
    grain="a UTC day, from the first transaction to the day after the last fact, none left out",
    columns=(
        Column("date", "date", "The day."),
        Column("year", "bigint", "Of the calendar."),
        Column("quarter", "bigint", "1 to 4."),
        Column("month", "bigint", "1 to 12."),
        Column("day", "bigint", "Of the month."),
        Column("week", "date", "The Monday of its week."),
        Column("weekday", "bigint", "1 is Monday, 7 is Sunday."),
    ),
    query="""\
with recursive bounds as (
  select
    (select min(event_date) from fact_transaction) as first,
    greatest(
      (select max(event_date) from fact_transaction),
      (select cast(max(label_time) at time zone 'UTC' as date) from fact_label)
    ) + 1 as last
), days as (
  select first as date, last from bounds where first is not null
  union all
  select cast(date + interval '1 day' as date), last from days where date < last
)
select
  date,
  cast(extract(year from date) as bigint) as year,
  cast(extract(quarter from date) as bigint) as quarter,
  cast(extract(month from date) as bigint) as month,
  cast(extract(day from date) as bigint) as day,
  cast(date_trunc('week', date) as date) as week,
  cast(extract(isodow from date) as bigint) as weekday
from days""",
)

TRUTH: Final = View(
    name="truth_period",
    grain="a transaction and a run of days on which the same was known of it",
    columns=(
        Column("transaction_id", "text", "The transaction."),
        Column("event_date", "date", "The UTC date it happened on."),
        Column("known_from", "date", "The first `as_of` at which this was known."),
        Column("known_to", "date", "The first `as_of` at which it no longer was; 9999-12-31: none."),
        Column("truth", "text", "`fraud`, `genuine`, `unknown` or `unobservable`."),
        Column("presumed", "boolean", "Whether it is genuine only because no label came in time."),
    ),
    query=f"""\
with seen as (
  select
    t.transaction_id,
    t.event_date,
    {_known_from("t.known_at")} as seen_from,
    {_known_from("t.event_time")} + cast(s.label_maturity_d as integer) as mature_from,
    case when t.status in ('{DECLINED}', '{REVERSED}')
      then {_known_from("coalesce(t.status_time, t.event_time)")} else {_NEVER} end as hidden_from,
    t.status = '{DECLINED}' as declined
  from fact_transaction t cross join mart_setting s
), labelled as (
  select
    transaction_id,
    is_fraud,
    {_known_from("label_time")} as since,
    lead({_known_from("label_time")}) over (
      partition by transaction_id order by label_time, source
    ) as until,
    row_number() over (partition by transaction_id order by label_time, source) as number
  from fact_label
), told as (
  select transaction_id, is_fraud, since, coalesce(until, {_NEVER}) as until from labelled
  union all
  select t.transaction_id, cast(null as boolean), t.seen_from, coalesce(l.since, {_NEVER})
  from seen t left join labelled l on l.transaction_id = t.transaction_id and l.number = 1
), stretch as (
  select
    t.transaction_id,
    t.event_date,
    l.is_fraud,
    greatest(l.since, t.seen_from) as since,
    l.until,
    case when l.is_fraud is null then t.mature_from else t.seen_from end as settled_from,
    case when l.is_fraud and not t.declined then {_NEVER} else t.hidden_from end as hidden_from
  from told l join seen t on t.transaction_id = l.transaction_id
), period as (
  select transaction_id, event_date, since as known_from, least(until, settled_from, hidden_from) as known_to,
    'unknown' as truth, false as presumed
  from stretch
  union all
  select transaction_id, event_date, greatest(since, settled_from), least(until, hidden_from),
    case when is_fraud then 'fraud' else 'genuine' end, is_fraud is null
  from stretch
  union all
  select transaction_id, event_date, greatest(since, hidden_from), until, 'unobservable', false
  from stretch
)
select transaction_id, event_date, known_from, known_to, truth, presumed
from period where known_from < known_to""",
)

_COUNTS: Final = (
    Column("transactions", "bigint", "Scored live and known.", WITHIN_AS_OF),
    Column("matured", "bigint", "Those whose truth is known: fraud or genuine.", WITHIN_AS_OF),
    Column("presumed_genuine", "bigint", "Matured ones without a label.", WITHIN_AS_OF),
    Column("unknown", "bigint", "Those without a label, younger than the label maturity.", WITHIN_AS_OF),
    Column("unobservable", "bigint", "Declined or reversed ones, whose truth never shows.", WITHIN_AS_OF),
    Column("frauds", "bigint", "Matured ones that were fraud.", WITHIN_AS_OF),
    Column("true_positives", "bigint", "Frauds whose decision was review or decline.", WITHIN_AS_OF),
    Column("false_positives", "bigint", "Genuine ones whose decision was review or decline.", WITHIN_AS_OF),
    Column("false_negatives", "bigint", "Frauds that were approved.", WITHIN_AS_OF),
)
_MEASURES: Final = (
    Column(
        "precision_share",
        "double precision",
        "True positives over all positives; empty without any.",
        AVERAGES,
    ),
    Column("recall_share", "double precision", "True positives over frauds; empty without any.", AVERAGES),
    Column("f1", "double precision", "Harmonic mean of the two; empty where one of them is.", AVERAGES),
)
_MEASURED: Final = """\
  cast(true_positives as double precision) / nullif(true_positives + false_positives, 0) as precision_share,
  cast(true_positives as double precision) / nullif(frauds, 0) as recall_share,
  case when frauds > 0 and true_positives + false_positives > 0
    then cast(2 * true_positives as double precision) / (true_positives + false_positives + frauds)
    end as f1"""

CHANGE: Final = View(
    name="performance_change",
    grain="a UTC day, a week, a model version, a truth and whether there was an alert",
    columns=(
        Column("as_of", "date", "The day from which the change counts."),
        _WEEK,
        _MODEL,
        Column("truth", "text", "`fraud`, `genuine`, `unknown` or `unobservable`."),
        Column("presumed", "boolean", "Whether genuine only because no label came in time."),
        Column("alerted", "boolean", "Whether the decision was review or decline."),
        Column("change", "bigint", "Transactions that came to be this, less those that ceased to be.", ADDS),
    ),
    query=f"""\
with scored as (
  select
    p.known_from,
    p.known_to,
    cast(date_trunc('week', p.event_date) as date) as week,
    s.model_version,
    p.truth,
    p.presumed,
    s.decision in ('review', 'decline') as alerted
  from fact_score s join truth_period p on p.transaction_id = s.transaction_id
  where s.run_kind = 'live'
), counted as (
  select known_from, known_to, week, model_version, truth, presumed, alerted, count(*) as n
  from scored group by known_from, known_to, week, model_version, truth, presumed, alerted
), changed as (
  select known_from as as_of, week, model_version, truth, presumed, alerted, n from counted
  union all
  select known_to, week, model_version, truth, presumed, alerted, -n from counted where known_to < {_NEVER}
)
select as_of, week, model_version, truth, presumed, alerted, cast(sum(n) as bigint) as change
from changed group by as_of, week, model_version, truth, presumed, alerted""",
)


def _count(condition: str) -> str:
    return f"cast(coalesce(sum(c.change) filter (where {condition}), 0) as bigint)"


WEEK: Final = View(
    name="performance_week",
    grain="a day of knowledge (`as_of`), a week of transactions and a model version",
    columns=(_AS_OF, _WEEK, _MODEL, *_COUNTS, *_MEASURES),
    query=f"""\
with change as (
  select * from performance_change
), counted as (
  select
    d.date as as_of,
    c.week,
    c.model_version,
    {_count("true")} as transactions,
    {_count("c.truth in ('fraud', 'genuine')")} as matured,
    {_count("c.presumed")} as presumed_genuine,
    {_count("c.truth = 'unknown'")} as unknown,
    {_count("c.truth = 'unobservable'")} as unobservable,
    {_count("c.truth = 'fraud'")} as frauds,
    {_count("c.truth = 'fraud' and c.alerted")} as true_positives,
    {_count("c.truth = 'genuine' and c.alerted")} as false_positives,
    {_count("c.truth = 'fraud' and not c.alerted")} as false_negatives
  from dim_date d join change c on c.as_of <= d.date
  group by d.date, c.week, c.model_version
)
select counted.*,
{_MEASURED}
from counted""",
)

MODEL: Final = View(
    name="performance_model",
    grain="a day of knowledge (`as_of`) and a model version, over all its weeks",
    columns=(_AS_OF, _MODEL, *_COUNTS, *_MEASURES),
    query="with counted as (\n  select as_of, model_version,\n"
    + ",\n".join(f"    cast(sum({c.name}) as bigint) as {c.name}" for c in _COUNTS)
    + "\n  from performance_week group by as_of, model_version\n)"
    + f"\nselect counted.*,\n{_MEASURED}\nfrom counted",
)

_NEWEST: Final = (
    Column("model_version", "text", "Of the newest live score."),
    Column("score", "double precision", "The newest live one, 0 to 1.", AVERAGES),
    Column("probability", "double precision", "Of fraud, calibrated, with that score.", AVERAGES),
    Column("scored_decision", "text", "`approve`, `review` or `decline`, with that score."),
    Column("scored_reasons", "text", "Codes, the strongest first, with commas between."),
    Column("scored_at", "timestamptz", "When it was scored, UTC."),
    Column("decision", "text", "What the endpoint answered; empty where it was not asked."),
    Column("decision_reasons", "text", "Codes, the strongest first, with commas between."),
    Column("decided_at", "timestamptz", "When the endpoint answered, UTC."),
    Column("is_fraud", "boolean", "What the newest label says; empty without one."),
    Column("fraud_type", "text", "The type of fraud, where that label names one."),
    Column("label_source", "text", "Whose label it is."),
    Column("label_time", "timestamptz", "When it became known, UTC."),
    Column("updated_at", "timestamptz", "The newest of all its times, for incremental refresh, UTC."),
)


def newest(transactions: Table) -> View:
    """Return the wide view: every transaction once, with the newest that is said of it."""
    own = tuple(column for column in transactions.columns if column.name != "published_at")
    return View(
        name="transaction_newest",
        grain="a transaction, with its newest live score, its decision and its newest label",
        columns=(*own, *_NEWEST),
        query=f"""\
select
  {", ".join(f"t.{quoted(column.name)}" for column in own)},
  s.model_version,
  s.score,
  s.probability,
  s.decision as scored_decision,
  s.reasons as scored_reasons,
  s.scored_at,
  d.decision,
  d.reasons as decision_reasons,
  d.decided_at,
  l.is_fraud,
  l.fraud_type,
  l.source as label_source,
  l.label_time,
  greatest(
    t.known_at, s.scored_at, d.decided_at, l.label_time,
    t.published_at, s.published_at, d.published_at, l.published_at
  ) as updated_at
from fact_transaction t
left join lateral (
  select * from fact_score where fact_score.transaction_id = t.transaction_id and run_kind = 'live'
  order by scored_at desc, model_version desc limit 1
) s on true
left join fact_decision d on d.transaction_id = t.transaction_id
left join lateral (
  select * from fact_label where fact_label.transaction_id = t.transaction_id
  order by label_time desc, source desc limit 1
) l on true""",
    )


def views(transactions: Table) -> tuple[View, ...]:
    """Return all views, each after those it reads."""
    return (DATE, newest(transactions), TRUTH, CHANGE, WEEK, MODEL)
