"""This package's section of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from fraud.settings import Section

EntityName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,63}$")]


class ServeSettings(Section):
    """How the scoring service runs."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535)
    min_replicas: int = Field(default=1, ge=1, le=1000, description="Never 0: a cold start loses requests.")
    max_replicas: int = Field(default=2, ge=1, le=1000)
    cpus_per_replica: float = Field(
        default=0.5, gt=0, le=64, description="Twice the replicas must fit: an update starts before it stops."
    )
    target_ongoing_requests: int = Field(
        default=8, ge=1, le=1000, description="Requests in flight per replica that autoscaling aims at."
    )
    max_ongoing_requests: int = Field(
        default=100, ge=1, le=10_000, description="Requests a replica works on at once."
    )
    max_queued_requests: int = Field(
        default=200, ge=0, le=100_000, description="Requests waiting per replica; more are answered 429."
    )
    upscale_delay_s: float = Field(default=3.0, ge=0, le=3600)
    downscale_delay_s: float = Field(default=120.0, ge=0, le=86_400)
    request_timeout_s: float = Field(default=5.0, gt=0, le=300, description="Then the answer is 408.")
    deadline_s: float = Field(
        default=0.5, gt=0, le=60, description="Then the policy's fallback answers; a client may ask for less."
    )
    body_timeout_s: float = Field(default=2.0, gt=0, le=60, description="For a body to arrive; then 408.")
    max_body_bytes: int = Field(default=16_384, ge=256, le=1_048_576, description="A longer body is refused.")
    max_batch_body_bytes: int = Field(default=1_048_576, ge=256, le=16_777_216, description="Of a batch.")
    max_batch_rows: int = Field(default=500, ge=1, le=500, description="Transactions of a batch.")
    max_in_flight: int = Field(
        default=64, ge=1, le=10_000, description="Requests a replica lets in at once; more are answered 429."
    )
    rate_per_key_per_s: float = Field(
        default=0.0, ge=0, le=1_000_000, description="Requests of a key, per replica. 0: no limit."
    )
    keys_file: str = Field(
        default="", description="API keys, hashed, see `fraud key`. Empty: anyone, on a loopback host only."
    )
    id_formats: Mapping[EntityName, str] = Field(
        default={}, description="Per field, a pattern of ids that are no card numbers though they look it."
    )
    max_future_s: float = Field(
        default=300.0, ge=0, le=86_400, description="How far a client's clock may be ahead."
    )
    pointer_poll_s: float = Field(
        default=1.0, gt=0, le=3600, description="Seconds between a replica's looks for another model."
    )
    alias_poll_s: float = Field(
        default=2.0, gt=0, le=3600, description="Seconds between looks at the registry for another model."
    )
    follow_every_s: float = Field(
        default=30.0, gt=0, le=86_400, description="Between two times new rows of the lake enter the state."
    )
    ship_every_s: float = Field(
        default=10.0, gt=0, le=86_400, description="Between two times the journal is brought into the lake."
    )
    journal_segment_bytes: int = Field(
        default=67_108_864, ge=4096, description="A journal file of this size is followed by a new one."
    )
    journal_keep_s: float = Field(
        default=172_800.0,
        ge=0,
        description="How long a journal file stays once it is in the lake: answers are rebuilt from it.",
    )
    disk_reserve_bytes: int = Field(
        default=268_435_456, ge=0, description="Nothing is written where less is free on the disk."
    )
    entities: tuple[EntityName, ...] = Field(
        default=("card_id", "terminal_id"), description="Entity ids a request may carry, besides the model's."
    )
    reasons_language: str = Field(
        default="en",
        min_length=1,
        description="Of what customers are told: a name in configs/reasons or a file.",
    )

    @field_validator("id_formats")
    @classmethod
    def _are_patterns(cls, formats: Mapping[str, str]) -> Mapping[str, str]:
        for name, pattern in formats.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"the pattern of {name} is no regular expression: {error}") from error
        return formats

    @model_validator(mode="after")
    def _is_possible(self) -> ServeSettings:
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas is below min_replicas")
        # A replica reports at most max_ongoing_requests, so the autoscaler would never see an overload.
        if self.max_ongoing_requests < 2 * self.target_ongoing_requests:
            raise ValueError("max_ongoing_requests is at least twice target_ongoing_requests")
        # Otherwise requests would wait in Serve's queue, where nothing bounds their time.
        if self.max_ongoing_requests < self.max_in_flight:
            raise ValueError("max_ongoing_requests is at least max_in_flight")
        return self
