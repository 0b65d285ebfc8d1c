"""The HTTP face of a scorer: routes, the limit of a body, and one shape of error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve_app import openapi
from serve_app.errors import (
    BodyTooLargeError,
    NotReadyError,
    RequestError,
    UnsupportedEncodingError,
    error_body,
)
from serve_app.replica import Replica
from serve_app.settings import ServeSettings

_JSON = "application/json"

logger = logging.getLogger(__name__)
