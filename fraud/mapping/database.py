"""What a mapping says of a database that is its source: which rows, and how they are told apart in pages."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from fraud.mapping.section import Section


class Database(Section):
    """A table or a query, cut into pages along a key.

    ``key`` is a column that an index serves; rows may share a key, none may lack one. Where keys grow with
    time, ``overlap`` lets each ingest begin where the one before ended, less so much for rows that became
    visible late: a count for a number (``10000``), a time span for a time (``2 hours``). Without it, every
    ingest reads everything, and adds what is new.
    """

    table: str | None = Field(default=None, pattern=r'^[^."]+(\.[^."]+)?$', description="Or schema.name.")
    query: str | None = Field(default=None, min_length=1, description="SQL that selects the rows.")
    key: str = Field(min_length=1)
    overlap: str | None = Field(default=None, min_length=1)

    @field_validator("query")
    @classmethod
    def _one_statement(cls, query: str | None) -> str | None:
        return None if query is None else query.strip().removesuffix(";")

    @model_validator(mode="after")
    def _table_or_query(self) -> Database:
        if (self.table is None) == (self.query is None):
            raise ValueError("say either table or query")
        return self
