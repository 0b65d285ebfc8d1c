"""A Power BI data source file: opens Power BI at the mart, and holds no secret."""

from __future__ import annotations

import json
from typing import Literal

from fraud.address import Address

Mode = Literal["DirectQuery", "Import"]


def pbids(address: Address, mode: Mode) -> str:
    """Return the text of a ``.pbids`` file; Power BI asks its user for name and password."""
    connection = {
        "details": {
            "protocol": "postgresql",
            "address": {"server": address.server, "database": address.database},
        },
        "options": {},
        "mode": mode,
    }
    return json.dumps({"version": "0.1", "connections": [connection]}, indent=2) + "\n"
