"""XGBoost comes without scikit-learn, and scikit-learn is there for whoever asks for it."""

from __future__ import annotations

import subprocess
import sys

STATEMENTS = """
import sys
import serve_app.decider, fraud.jobs.score_day
print("xgboost" in sys.modules, "sklearn" in sys.modules)
import fraud.model.metrics
print("sklearn" in sys.modules)
"""


def test_who_scores_loads_no_scikit_learn_and_who_measures_does() -> None:
    done = subprocess.run([sys.executable, "-c", STATEMENTS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True False", "True"]
