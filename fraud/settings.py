"""This package's sections of the settings: frozen, typed, unknown names refused."""

from __future__ import annotations

import math
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Section(BaseModel):
    """A group of settings; every package owns its own sections."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RateSettings(Section):
    """One exchange rate: what one major unit of ``currency`` is worth in the base currency from a date on."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    since: date
    rate: float = Field(gt=0, description="Major units of the base currency for one major unit of this one.")


class MoneySettings(Section):
    """The base currency and the dated rates into it."""

    base_currency: str = Field(default="EUR", pattern="^[A-Z]{3}$")
    rates: tuple[RateSettings, ...] = Field(default=(), description="A currency without a rate is refused.")


class IngestSettings(Section):
    """How source files become tables."""

    max_reject_share: float = Field(default=0.05, ge=0, le=1, description="Above it nothing is committed.")
    database_password: SecretStr = Field(
        default=SecretStr(""), description="Of a source that is a database, from the environment."
    )


class LabelSettings(Section):
    """When a transaction without a fraud label counts as genuine."""

    label_maturity_d: int = Field(default=7, ge=0, le=400, description="Days after the event.")


class FeatureSettings(Section):
    """Which feature set, and how the work is cut."""

    feature_set: str = Field(default="handbook", description="A name in configs/features or a file.")
    here_rows: int = Field(
        default=12_000_000, ge=0, description="Waves of up to so many rows are computed without a Ray task."
    )
    group_rows: int = Field(default=1_000_000, ge=1, description="Rows of the files that one task reads.")
    partition_rows: int = Field(default=1_000_000, ge=1, description="Rows of an entity that one task holds.")
    wave_rows: int = Field(default=6_000_000, ge=1, description="Rows computed before the next are read.")


class TrainSettings(Section):
    """One distributed XGBoost training.

    ``base_score`` and ``max_bin`` are explicit because the library's defaults lose a tenth of the average
    precision on fraud data: an automatic base score and 256 quantile bins blur the tails.
    """

    engine: Literal["ray_train", "xgboost_ray"] = "ray_train"
    workers: int = Field(default=2, ge=1, le=512)
    cpus_per_worker: float = Field(
        default=0.5, gt=0, description="Leave CPUs for Ray Data, which feeds them."
    )
    threads_per_worker: int = Field(default=1, ge=1, le=256)
    rounds: int = Field(default=100, ge=1, le=100_000)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    max_depth: int = Field(default=3, ge=1, le=20)
    min_child_weight: float = Field(default=1.0, ge=0)
    subsample: float = Field(default=1.0, gt=0, le=1)
    colsample_bytree: float = Field(default=1.0, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    max_bin: int = Field(default=4096, ge=2, le=1_048_576)
    base_score: float = Field(default=0.5, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    negative_share: float = Field(
        default=1.0, gt=0, le=1, description="Of the genuine rows, trained on; scores are corrected for it."
    )
    min_frauds: int = Field(default=5, ge=1, description="Fewer are refused before anything is trained.")
    external_memory: bool = Field(
        default=False,
        description="Bins on the worker's disk instead of in its memory: little slower, no limit.",
    )
    checkpoint_rounds: int = Field(
        default=25, ge=1, description="A lost worker costs at most so many rounds, and a new start."
    )
    collective_timeout_s: int = Field(
        default=45,
        ge=1,
        description="How long workers wait for each other before they fail and start again.",
    )
    max_failures: int = Field(default=3, ge=0, description="Of workers, before a training fails.")
    train_d: int = Field(default=28, ge=1, le=4000, description="Days of transactions a model is fitted on.")
    calibration_d: int = Field(default=7, ge=1, le=400, description="Days after them to calibrate on.")


class EvaluateSettings(Section):
    """Prequential folds; a protocol has its own number of them and of test days."""

    folds: int = Field(default=4, ge=1, le=100)
    train_d: int = Field(
        default=7, ge=1, le=4000, description="Days of training in a fold, also a protocol's."
    )
    test_d: int = Field(default=7, ge=1, le=400, description="Days of testing in a fold.")
    top_k_cards: int = Field(default=100, ge=1, description="Cards a day the team can check.")


class BandSettings(Section):
    """What to decide on amounts below an edge where no score can be had in time."""

    below_minor: int | None = Field(default=None, ge=1, description="The edge; none for the last band.")
    decision: Literal["approve", "review", "decline"]
    beyond_budget: Literal["approve", "decline"] = Field(
        default="approve", description="In place of a review once those of the day are given."
    )


class PolicySettings(Section):
    """What decisions cost, and how many reviews there are; amounts in minor units of the base currency."""

    reviews_per_day: int = Field(default=100, ge=0, description="The alert budget.")
    review_cost_minor: int = Field(default=500, ge=0, le=1_000_000_000, description="Of one review.")
    loss_share: float = Field(default=1.0, ge=0, le=1, description="Of an approved fraud's amount.")
    fraud_cost_minor: int = Field(
        default=0, ge=0, le=1_000_000_000, description="Of an approved fraud besides its amount."
    )
    friction_cost_minor: int = Field(
        default=5000, ge=0, le=1_000_000_000, description="Of declining a genuine transaction."
    )
    decline_probability: float = Field(
        default=0.5, gt=0, le=1, description="Nothing less probable is declined."
    )
    max_reasons: int = Field(default=4, ge=1, le=20, description="Reasons given with a review or decline.")
    fallback: tuple[BandSettings, ...] = Field(
        default=(BandSettings(below_minor=5000, decision="approve"), BandSettings(decision="review")),
        description="Where no score can be had in time: by rising amount, the last band without an edge.",
    )

    @field_validator("fallback")
    @classmethod
    def _is_whole(cls, bands: tuple[BandSettings, ...]) -> tuple[BandSettings, ...]:
        edges = [math.inf if band.below_minor is None else band.below_minor for band in bands]
        if edges != sorted({*edges}) or math.inf not in edges:
            raise ValueError("bands need a rising below_minor, and the last one none")
        return bands


class ScoreSettings(Section):
    """Batch scoring."""

    actors: int = Field(default=2, ge=1, le=512)
    cpus_per_actor: float = Field(default=0.5, gt=0)


class MlflowSettings(Section):
    """Where runs and models are kept."""

    tracking_uri: str = Field(default="", description="Empty: an SQLite file in the work directory.")
    artifact_uri: str = Field(
        default="", description="Empty: a folder in the work directory, or where an MLflow server keeps them."
    )
    experiment: str = "fraud"
    model_name: str = "fraud"


class MonitorSettings(Section):
    """The weekly tables."""

    psi_alert: float = Field(
        default=0.25, gt=0, description="A population stability index above it is drift."
    )


class MartSettings(Section):
    """What reports read: a PostgreSQL database, and what may leave the lake for it or for an export."""

    uri: SecretStr = Field(
        default=SecretStr(""),
        description="postgresql://USER:PASSWORD@HOST:PORT/DATABASE, from the environment.",
    )
    schema_name: str = Field(default="mart", pattern="^[a-z_][a-z0-9_]{0,62}$")
    reader_role: str = Field(default="fraud_reader", pattern="^[a-z_][a-z0-9_]{0,62}$")
    entities: tuple[str, ...] = Field(
        default=("terminal_id",),
        description="Columns of entity ids that may leave; cards do not unless named.",
    )
    attributes: tuple[str, ...] = Field(default=(), description="Columns of the mapping that may leave.")


class PromotionSettings(Section):
    """What a model has to be to become champion."""

    evaluation_d: int = Field(
        default=28, ge=1, le=4000, description="Newest days of known truth that both models are compared on."
    )
    min_rows: int = Field(default=1000, ge=1, description="Of these days, or nothing can be said.")
    min_frauds: int = Field(default=30, ge=1, description="Of these days, or nothing can be said.")
    max_precision_loss: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Average precision that the challenger may lack, at the lower end of the 95 % interval.",
    )
    resamples: int = Field(default=1000, ge=500, le=100_000, description="Of cards, for that interval.")
    max_cost_increase: float = Field(
        default=0.005,
        ge=0,
        description="What its decisions may cost more, over what approving all frauds costs.",
    )
    min_precision_lift: float = Field(
        default=5.0, ge=1, description="A first champion's average precision over the share of frauds."
    )
    max_calibration_error: float = Field(
        default=0.5, gt=0, description="Expected calibration error over the share of frauds."
    )
    max_latency_ms: float = Field(default=10.0, gt=0, description="Median time to score one transaction.")
    proof_days: int = Field(
        default=1, ge=1, le=100, description="Days to verify features on, where no proof is recorded."
    )
    max_state_lag_s: float = Field(
        default=600.0, gt=0, description="How long the online state may not have read what is in the lake."
    )
