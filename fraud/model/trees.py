"""Whether a booster's JSON holds trees that can be walked.

XGBoost trusts the numbers in its own files: a child that points outside its tree, or back, makes it read
foreign memory or run for ever. So they are checked before XGBoost sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.model import strict_json

_NUMBERS: Final = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
_WHOLE: Final = ("default_left", "left_children", "parents", "right_children", "split_indices", "split_type")
_CATEGORIES: Final = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_LEAF: Final = -1
_MOST_FEATURES: Final = 1_000_000


def check(raw: bytes) -> None:
    """Check the JSON of a booster before XGBoost reads it.

    Args:
        raw: As ``booster.to_json`` gives it.

    Raises:
        ValueError: It is no JSON, or no gradient boosting of plain trees for a binary outcome, or a tree
            cannot be walked.
    """
    _require(raw[:2] == b'{"', "it is no JSON object")  # XGBoost would take it for another format
    try:
        _check_learner(strict_json.read(raw)["learner"])
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError("it lacks what a booster has") from error


def _check_learner(learner: Mapping[str, Any]) -> None:
    params, gradient = learner["learner_model_param"], learner["gradient_booster"]
    _require(learner["objective"]["name"] == "binary:logistic", "its objective is another")
    _require(gradient["name"] == "gbtree", "its trees are of another kind")
    features = int(params["num_feature"])
    _require(0 < features <= _MOST_FEATURES, "its number of features is strange")
    _require(int(params["num_class"]) == 0 and int(params["num_target"]) == 1, "it has several outcomes")
    _require(0 < float(params["base_score"].strip("[]")) < 1, "its base score is no probability")
    _require(_texts(learner["feature_names"]) in (0, features), "its names are not its features'")
    _require(_texts(learner["feature_types"]) in (0, features), "its types are not its features'")
    _require(all(isinstance(text, str) for text in learner["attributes"].values()), "an attribute is no text")
    model = gradient["model"]
    _require(not any(model["cats"].values()), "it has categories")
    _check_order(model)
    for tree in model["trees"]:
        _check_tree(tree, features)


def _check_order(model: Mapping[str, Any]) -> None:
    count, rounds = len(model["trees"]), _whole(model["iteration_indptr"])
    _require(int(model["gbtree_model_param"]["num_trees"]) == count, "its trees are not all there")
    _require(model["tree_info"] == [0] * count, "its trees are of several outcomes")
    is_ascending = rounds[0] == 0 and rounds[-1] == count and bool((np.diff(rounds) > 0).all())
    _require(is_ascending, "its rounds are not in order")
    each = int(model["gbtree_model_param"]["num_parallel_tree"])
    _require(0 < each <= max(count, 1), "its rounds are of strange size")


def _check_tree(tree: Mapping[str, Any], features: int) -> None:
    nodes = len(tree["left_children"])
    params = {name: int(text) for name, text in tree["tree_param"].items()}
    expected = params["num_nodes"] == nodes > 0 and params["num_feature"] in (0, features)
    _require(expected and params["num_deleted"] == 0, "a tree is not of its size")
    _require(params["size_leaf_vector"] in (0, 1), "a leaf has several values")
    _require(not any(tree[name] for name in _CATEGORIES), "a tree has categories")
    whole = {name: _whole(tree[name]) for name in _WHOLE}
    numbers = [np.asarray(tree[name], np.float64) for name in _NUMBERS]
    _require(all(column.shape == (nodes,) for column in (*whole.values(), *numbers)), "a tree is ragged")
    limit = float(np.finfo(np.float32).max)
    _require(all((np.abs(column) <= limit).all() for column in numbers), "a tree holds no finite number")
    _require(not whole["split_type"].any(), "a tree has categories")
    _require(bool(np.isin(whole["default_left"], (0, 1)).all()), "a tree's default is neither left nor right")
    _check_walk(whole, features)


def _check_walk(tree: Mapping[str, NDArray[np.int64]], features: int) -> None:
    """Every node but the root is the child of one other: no way down is endless or leads out of the tree."""
    left, right = tree["left_children"], tree["right_children"]
    split = np.flatnonzero(left != _LEAF)
    _require(np.array_equal(split, np.flatnonzero(right != _LEAF)), "a node has one child")
    children = np.concatenate([left[split], right[split]])
    _require(np.array_equal(np.sort(children), np.arange(1, len(left))), "a node is not below one other")
    _require(np.array_equal(tree["parents"][children], np.tile(split, 2)), "a node names another parent")
    asked = tree["split_indices"][split]
    _require(bool(((asked >= 0) & (asked < features)).all()), "a node asks for a feature that is not there")


def _whole(values: object) -> NDArray[np.int64]:
    numbers = np.asarray(values)
    _require(
        numbers.dtype.kind == "i" and numbers.ndim == 1, "a list holds something else than whole numbers"
    )
    return numbers.astype(np.int64)


def _texts(values: object) -> int:
    """How many texts a list holds."""
    _require(isinstance(values, list) and all(isinstance(text, str) for text in values), "a name is no text")
    return len(values) if isinstance(values, list) else 0


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
