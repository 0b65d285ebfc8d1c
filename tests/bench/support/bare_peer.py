"""The peer: FastAPI in one uvicorn worker that parses the same body and calls the same booster, no more.

The bundle's folder is named by the environment, as uvicorn imports the application by name.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import orjson
import xgboost as xgb
from fastapi import FastAPI, Request, Response

app = FastAPI()
booster = xgb.Booster(model_file=Path(os.environ["BENCH_BUNDLE"]) / "booster.json")
booster.set_param({"nthread": 1})
columns = booster.num_features()


@app.post("/v1/score")
async def score(request: Request) -> Response:
    body = orjson.loads(await request.body())
    row = np.zeros((1, columns), np.float32)
    row[0, 0] = body["amount_minor"]
    row[0, 1] = body["attributes"]["distance_km"]
    found = float(booster.inplace_predict(row)[0])
    answer = {"transaction_id": body["transaction_id"], "score": found}
    return Response(orjson.dumps(answer), media_type="application/json")
