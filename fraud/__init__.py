"""Card-fraud detection: features, models, and the jobs that make and use them."""

from fraud.lean_xgboost import hide_scikit_learn

hide_scikit_learn()
