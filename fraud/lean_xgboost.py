"""XGBoost without scikit-learn, which it imports for wrapper classes that nothing here uses.

With scikit-learn comes scipy.stats: nearly two seconds and 100 MB for every replica, worker and command.
So while XGBoost asks for it, and only then, it is not found. Whoever measures imports it as ever.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, Final

_ASKING: Final = "xgboost.compat"
_ANSWER: Final = "SKLEARN_INSTALLED"
"""What the asking module sets once it knows."""


class _Hidden(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        asking = sys.modules.get(_ASKING)
        if name == "sklearn" and asking is not None and not hasattr(asking, _ANSWER):
            raise ModuleNotFoundError("hidden from XGBoost", name=name)
        return None


def hide_scikit_learn() -> None:
    """Let XGBoost, if it is imported from now on, find no scikit-learn."""
    if not any(isinstance(finder, _Hidden) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Hidden())
