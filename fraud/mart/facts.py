"""The facts and dimensions of the mart, and which columns of the lake may leave through it.

What is not named here stays in the lake: requests, answers, features, callers, and every entity and attribute
that the settings do not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fraud import schema
from fraud.mart.table import ADDS, AVERAGES, Column, Dimension, Table

_ID: Final = Column("transaction_id", "text", "The transaction.")
_EVENT_TIME: Final = Column("event_time", "timestamptz", "When the transaction happened, UTC.")
_EVENT_DATE: Final = Column("event_date", "date", "The UTC date of `event_time`.")
_AMOUNT_BASE: Final = Column(
    "amount_base_minor", "bigint", "Amount in minor units of the base currency, such as cents.", ADDS
)
_MODEL: Final = Column("model_version", "text", "The model's version, see `dim_model`.")
_SCORE: Final = Column("score", "double precision", "The model's output, 0 to 1.", AVERAGES)
_PROBABILITY: Final = Column("probability", "double precision", "Of fraud, calibrated, 0 to 1.", AVERAGES)
_DECISION: Final = Column("decision", "text", "`approve`, `review` or `decline`.")
_REASONS: Final = Column("reasons", "text", "Codes of the reasons, the strongest first, with commas between.")
_POLICY: Final = Column("policy_version", "text", "The policy that decided, see `dim_policy`.")
_DIGEST: Final = Column("model_digest", "text", "SHA-256 of the model's bundle.")
_FEATURES: Final = Column("features_version", "text", "The version of the feature set.")
_PUBLISHED: Final = Column(
    "published_at", "timestamptz", "When the row came into the mart, UTC; empty in an export."
)

PUBLISHED_AT: Final = _PUBLISHED.name

SCORE: Final = Table(
    name="fact_score",
    grain="a transaction, a model version and a kind of run",
    key=("transaction_id", "model_version", "run_kind"),
    columns=(
        _ID,
        _EVENT_TIME,
        _EVENT_DATE,
        _MODEL,
        Column("run_kind", "text", "`live`, `backfill`, `rescore` or `shadow`; only `live` is performance."),
        _SCORE,
        _PROBABILITY,
        _DECISION,
        _REASONS,
        _POLICY,
        _DIGEST,
        _FEATURES,
        Column("scored_at", "timestamptz", "When it was scored, UTC."),
        _PUBLISHED,
    ),
    source=schema.SCORES,
    dates="event_date",
)

DECISION: Final = Table(
    name="fact_decision",
    grain="a transaction that the endpoint answered",
    key=("transaction_id",),
    columns=(
        _ID,
        _EVENT_TIME,
        _EVENT_DATE,
        Column("decided_at", "timestamptz", "When the endpoint answered, UTC."),
        _AMOUNT_BASE,
        _SCORE,
        _PROBABILITY,
        _DECISION,
        _REASONS,
        _POLICY,
        Column("policy_digest", "text", "SHA-256 of the policy."),
        Column("model_name", "text", "The registered model."),
        _MODEL,
        _DIGEST,
        _FEATURES,
        Column("degraded", "text", "Why there was no score; empty where there was one."),
        Column("latency_us", "bigint", "From request to answer, microseconds.", AVERAGES),
        _PUBLISHED,
    ),
    source=schema.DECISIONS,
    dates="event_date",
)

LABEL: Final = Table(
    name="fact_label",
    grain="a transaction, a time it was labelled and a source",
    key=("transaction_id", "label_time", "source"),
    columns=(
        _ID,
        _EVENT_TIME,
        Column("label_time", "timestamptz", "When the label became known, UTC."),
        Column("source", "text", "Who said so."),
        Column("is_fraud", "boolean", "What was said."),
        Column("fraud_type", "text", "The type of fraud, where the label names one."),
        _PUBLISHED,
    ),
    source=schema.LABELS,
)

ALERT: Final = Table(
    name="fact_alert",
    grain="a cause that somebody has to look at",
    key=("id",),
    columns=(
        Column("id", "text", "The cause."),
        Column("at", "timestamptz", "When it was noticed, UTC."),
        Column("kind", "text", "Of cause, such as `model_refused`."),
        Column("severity", "text", "`error` or `warning`."),
        Column("subject", "text", "What it is about."),
        Column("message", "text", "What is wrong and what to do."),
        _PUBLISHED,
    ),
    source=schema.ALERTS,
)

SETTING: Final = Table(
    name="mart_setting",
    grain="the mart: there is one row",
    key=("format_version",),
    columns=(
        Column("format_version", "bigint", "Of the mart's tables and views."),
        Column(
            "label_maturity_d", "bigint", "Days after which a transaction without a label counts as genuine."
        ),
        Column("base_currency", "text", "ISO 4217 code, of `amount_base_minor`."),
    ),
)

PUBLICATION: Final = Table(
    name="mart_publication",
    grain="a table of the lake",
    key=("table_name",),
    columns=(
        Column("table_name", "text", "In the lake."),
        Column("table_id", "text", "Which the lake gave it: another lake's differs."),
        Column("lake_version", "bigint", "The version up to which the mart holds its rows."),
        Column("published_at", "timestamptz", "When that version came into the mart, UTC."),
    ),
)

_TRANSACTION: Final = (
    _ID,
    _EVENT_TIME,
    _EVENT_DATE,
    Column("known_at", "timestamptz", "When the transaction became known, UTC."),
    Column("kind", "text", "`purchase`, `verification`, `refund` or `reversal`."),
    Column(
        "status",
        "text",
        "What became of it, where the source says so; `declined` and `reversed` hide the truth.",
    ),
    Column("status_time", "timestamptz", "When the status became known, UTC; empty: at the event."),
    Column("amount_minor", "bigint", "Amount in minor units of `currency`.", "within one currency"),
    Column("currency", "text", "ISO 4217 code."),
    _AMOUNT_BASE,
)


def transaction(entities: tuple[str, ...], attributes: Mapping[str, str]) -> Table:
    """Return the fact of transactions.

    Args:
        entities: Columns of entity ids that may leave.
        attributes: SQL types of the mapping's attributes that may leave, by name.
    """
    return Table(
        name="fact_transaction",
        grain="a transaction",
        key=("transaction_id",),
        columns=(
            *_TRANSACTION,
            *(
                Column(name, "text", f"The token of an entity, see `{dimension_name(name)}`.")
                for name in entities
            ),
            *(Column(name, kind, "An attribute of the mapping.") for name, kind in attributes.items()),
            _PUBLISHED,
        ),
        source=schema.TRANSACTIONS,
        dates="event_date",
    )


def dimension_name(entity: str) -> str:
    """The dimension of an entity column: ``dim_terminal`` for ``terminal_id``."""
    return f"dim_{entity.removesuffix('_id')}"


def dimensions(transactions: Table, entities: tuple[str, ...]) -> tuple[Dimension, ...]:
    """Return what facts refer to; dates are a view."""
    return (
        Dimension(
            Table("dim_model", "a model version", ("model_version",), (_MODEL, _DIGEST, _FEATURES)),
            facts=(SCORE, DECISION),
        ),
        Dimension(
            Table("dim_policy", "a policy version", ("policy_version",), (_POLICY,)), facts=(SCORE, DECISION)
        ),
        *(
            Dimension(
                Table(
                    dimension_name(entity), "an entity", (entity,), (Column(entity, "text", "Its token."),)
                ),
                facts=(transactions,),
            )
            for entity in entities
        ),
    )
