"""The model bundle: one directory that is registered, verified and served, with no pickle in it.

* ``booster.json``: XGBoost JSON
* ``features.yaml``: the canonical feature set
* ``calibration.json``: the curve from score to probability
* ``reference.json``: histograms of the training rows, one per feature and one of the score; no ids
* ``golden.json``: made-up rows with their scores and probabilities
* ``metadata.json``: data version, split, parameters, code and library versions, proof of the features
* ``digests.json``: format_version, SHA-256 of each file and of the whole
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from fraud.errors import BundleError, DeclarationError, FormatVersionError
from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.model import booster as boosters
from fraud.model import calibration as calibrations
from fraud.model import strict_json
from fraud.model.calibration import Calibration
from fraud.model.histogram import Histogram
from fraud.model.policy import canonical
from fraud.model.reasons import Explainer

FORMAT_VERSION: Final = 1
SCORE: Final = "score"
"""The name of the score's own histogram."""

DIGESTS: Final = "digests.json"
FILES: Final = (
    "booster.json",
    "calibration.json",
    "features.yaml",
    "golden.json",
    "metadata.json",
    "reference.json",
)

_AGAIN: Final = "fetch it from the registry again, or register the model again"


@dataclass(frozen=True)
class Bundle:
    """A verified model with everything it was made of.

    Attributes:
        booster: Set to one thread.
        feature_set: What the booster's columns are.
        calibration: From score to probability.
        reference: Histograms by feature name, and ``score``.
        metadata: As saved.
        digest: SHA-256 of the whole.
        path: Where it was loaded from.
    """

    booster: xgb.Booster
    feature_set: FeatureSet
    calibration: Calibration
    reference: Mapping[str, Histogram]
    metadata: Mapping[str, Any]
    digest: str
    path: Path

    @cached_property
    def explainer(self) -> Explainer:
        """What finds the causes of its scores; made when it is first asked for."""
        return Explainer(self.booster, self.feature_set)

    @cached_property
    def usual(self) -> tuple[float, ...]:
        """The middle value of each feature among the training rows, NaN where most are missing."""
        return tuple(self.reference[name].median for name in self.feature_set.names)

    @cached_property
    def _row_scorer(self) -> boosters.RowScorer:
        return boosters.RowScorer(self.booster)

    def scores(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of rows of features in the set's order, shape ``(n, features)`` to ``(n,)``."""
        if len(matrix) == 1:
            return np.array([self._row_scorer.score(matrix[0])])
        return boosters.predict(self.booster, matrix)

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated probabilities of scores, shape ``(n,)``."""
        return self.calibration.probability(scores)


def golden_rows(
    reference: Mapping[str, Histogram], names: tuple[str, ...], *, rows: int = 32
) -> NDArray[np.float32]:
    """Make up rows for the self-test, the same ones for the same reference.

    Each value is drawn by itself from the edges of its feature's histogram, so no row is a real one; the
    last row is missing throughout.

    Args:
        reference: Histograms by feature name.
        names: Features in the model's order.
        rows: How many.

    Returns:
        Shape ``(rows, len(names))``.
    """
    rng = np.random.default_rng(0)
    edges = [np.array(reference[name].edges or (0.0,), np.float32) for name in names]
    matrix = np.column_stack([rng.choice(values, size=rows) for values in edges]).astype(np.float32)
    matrix[-1] = np.nan
    return matrix


def save(
    folder: Path,
    *,
    booster: xgb.Booster,
    feature_set: FeatureSet,
    calibration: Calibration,
    reference: Mapping[str, Histogram],
    golden_rows: NDArray[np.float32],
    metadata: Mapping[str, Any],
) -> str:
    """Write a bundle into an empty or new folder and return its digest.

    Args:
        folder: Made where it is missing.
        booster: Trained on ``feature_set.names`` in that order.
        feature_set: The features.
        calibration: The curve.
        reference: Histograms by feature name, and ``score``.
        golden_rows: From ``golden_rows``, shape ``(n, features)``.
        metadata: Anything JSON can hold.
    """
    raw = boosters.to_json(booster)
    # The golden scores come from the bytes as they will be loaded, not from the booster in memory.
    loaded = boosters.from_json(raw, path=str(folder))
    scores = boosters.predict(loaded, golden_rows)
    contents = {
        "booster.json": raw,
        "calibration.json": canonical(calibration.to_json()),
        "features.yaml": feature_set.to_yaml().encode(),
        "golden.json": canonical(
            {
                "rows": [[None if np.isnan(value) else float(value) for value in row] for row in golden_rows],
                "scores": scores.tolist(),
                "probabilities": calibration.probability(scores).tolist(),
            }
        ),
        "metadata.json": canonical({**metadata, "features_version": feature_set.version}),
        "reference.json": canonical({name: histogram.to_json() for name, histogram in reference.items()}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    digest = _whole(files)
    (folder / DIGESTS).write_bytes(
        canonical({"format_version": FORMAT_VERSION, "files": files, "digest": digest})
    )
    return digest


def load(folder: Path, *, digest: str | None = None) -> Bundle:
    """Load a bundle that may be served: every digest right, every golden row scored to the last bit.

    Args:
        folder: The directory.
        digest: What the registry says it is; None trusts the bundle's own digest.

    Raises:
        FormatVersionError: Another release wrote it.
        BundleError: A file is missing, added or changed, it is another bundle than asked for, or the golden
            rows do not give their scores.
    """
    found, contents = _verified(folder, digest)
    feature_set = _feature_set(contents["features.yaml"], folder)
    path = str(folder)
    reference, metadata, curve, golden = (
        _object(contents[name], name, path)
        for name in ("reference.json", "metadata.json", "calibration.json", "golden.json")
    )
    bundle = Bundle(
        boosters.from_json(contents["booster.json"], path=path),
        feature_set,
        calibrations.from_json(curve, path=path),
        _reference(reference, path),
        _metadata(metadata, path),
        found,
        folder,
    )
    _check_agrees(bundle)
    _check_golden(bundle, golden)
    return bundle


def verify(folder: Path, digest: str) -> None:
    """Check the digests of a bundle's files.

    Raises:
        FormatVersionError: Another release wrote it.
        BundleError: A file is missing, added or changed, or it is another bundle.
    """
    _verified(folder, digest)


def _whole(files: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical({"format_version": FORMAT_VERSION, "files": dict(files)})).hexdigest()


def _verified(folder: Path, digest: str | None) -> tuple[str, dict[str, bytes]]:
    """Return the digest and the bytes of every file after checking both."""
    stated = _stated_digests(folder)
    present = {file.name for file in folder.iterdir()} - {DIGESTS}
    for name in sorted(present ^ set(FILES)):
        raise BundleError(str(folder), f"{name} is {_what(name)}; {_AGAIN}")
    contents = {name: _read(folder / name) for name in FILES}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name in FILES:
        if stated.get("files", {}).get(name) != files[name]:
            raise BundleError(str(folder), f"{name} does not match its digest; {_AGAIN}")
    whole = _whole(files)
    if stated.get("digest") != whole:
        raise BundleError(str(folder), f"digests.json does not match the files; {_AGAIN}")
    if digest is not None and digest != whole:
        raise BundleError(str(folder), f"it is {whole[:12]}, the registry names {digest[:12]}; {_AGAIN}")
    return whole, contents


def _what(name: str) -> str:
    return "missing" if name in FILES else "no part of a bundle"


def _stated_digests(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BundleError(str(folder), f"there is no such folder; {_AGAIN}")
    if not (folder / DIGESTS).is_file():
        raise BundleError(str(folder), f"{DIGESTS} is missing; {_AGAIN}")
    stated = _object(_read(folder / DIGESTS), DIGESTS, str(folder))
    if not isinstance(stated.get("files", {}), dict):
        raise BundleError(str(folder), f"{DIGESTS} holds no digests; {_AGAIN}")
    if stated.get("format_version") != FORMAT_VERSION:
        raise FormatVersionError(f"the bundle at {folder}", stated.get("format_version"), FORMAT_VERSION)
    return stated


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(str(file.parent), f"{file.name} cannot be read; {_AGAIN}") from error


def _object(raw: bytes, name: str, path: str) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        value = strict_json.read(raw)
    except ValueError as error:
        raise BundleError(path, f"{name} is not JSON: {error}; {_AGAIN}") from error
    if not isinstance(value, dict):
        raise BundleError(path, f"{name} is no JSON object; {_AGAIN}")
    return value


def _reference(raw: Mapping[str, Any], path: str) -> dict[str, Histogram]:
    try:
        return {name: Histogram.from_json(histogram) for name, histogram in raw.items()}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(path, f"reference.json holds no histograms; {_AGAIN}") from error


def _metadata(raw: dict[str, Any], path: str) -> dict[str, Any]:
    for name in ("data_version", "split", "params", "libraries"):
        if not isinstance(raw.get(name, {}), dict):
            raise BundleError(path, f"{name} in metadata.json is no JSON object; {_AGAIN}")
    return raw


def _feature_set(text: bytes, folder: Path) -> FeatureSet:
    try:
        feature_set = spec.load_text(text.decode(), str(folder / "features.yaml"))
    except (DeclarationError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(str(folder), f"features.yaml cannot be read ({error}); {_AGAIN}") from error
    return feature_set


def _check_agrees(bundle: Bundle) -> None:
    """The booster, the features and the reference belong together."""
    path, names = str(bundle.path), bundle.feature_set.names
    version = bundle.metadata.get("features_version")
    if version != bundle.feature_set.version:
        problem = (
            f"it was trained on features {version}, this release reads them as {bundle.feature_set.version}"
        )
        raise BundleError(path, f"{problem}; train a model with this release")
    if bundle.booster.num_features() != len(names):
        raise BundleError(path, f"booster.json has not the {len(names)} features of features.yaml; {_AGAIN}")
    if set(bundle.reference) != {*names, SCORE}:
        raise BundleError(path, f"reference.json lacks or adds a histogram; {_AGAIN}")


def _check_golden(bundle: Bundle, golden: Mapping[str, Any]) -> None:
    path = str(bundle.path)
    try:
        with np.errstate(over="raise"):
            rows = np.array(golden["rows"], np.float32).reshape(-1, len(bundle.feature_set.names))
        expected = np.array(golden["scores"], np.float64)
        probabilities = np.array(golden["probabilities"], np.float64)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise BundleError(path, f"golden.json has no rows and scores; {_AGAIN}") from error
    scores = bundle.scores(rows)
    alone = [bundle.scores(row[None]).item() for row in rows]
    again = bundle.probabilities(scores)
    right = [
        np.array_equal(*each) for each in ((scores, expected), (alone, expected), (again, probabilities))
    ]
    if not (len(rows) and all(right)):
        raise BundleError(
            path, "its golden rows do not give their scores here; use the XGBoost release that trained it"
        )
