"""Damage to bundles: files changed as disks and hands change them, and JSON with its digests made right.

Run as a program it loads and uses resealed bundles in a process of its own, because what it must not do is
crash: ``python -m tests.bundle_damage BUNDLE FOLDER COUNT SEED`` changes each file in COUNT copies and prints
how they ended.
"""

from __future__ import annotations

import collections
import hashlib
import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np

from fraud.errors import FraudError
from fraud.model import bundle

EVERY = (*bundle.FILES, bundle.DIGESTS)
DEEP = "[" * 100_000 + "]" * 100_000
STRANGE = (
    *(None, True, [], {}, "", "x", -1, 0, 1, 2**31 - 1, 2**31, 2**63, 10**400, -7.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), [[]], [1] * 1000, {"a": {"b": []}}, "9" * 5000, "\x00", "-1", "99999999"),
)


def reseal(folder: Path) -> None:
    """Make the digests right again, as somebody would who changes a file and hides it."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in bundle.FILES}
    stated = {"format_version": bundle.FORMAT_VERSION, "files": files, "digest": bundle._whole(files)}
    (folder / bundle.DIGESTS).write_text(json.dumps(stated))


def damage(folder: Path, rng: random.Random, kind: str) -> None:
    """Change a bundle as ``kind`` says, at a random place."""
    name = rng.choice(EVERY)
    file = folder / name
    content = bytearray(file.read_bytes())
    if kind == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    elif kind == "truncate":
        file.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "delete":
        file.unlink()
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "lengthen":
        file.write_bytes(content + rng.randbytes(rng.randint(1, 100)))
    elif kind == "swap":
        other = folder / rng.choice([each for each in EVERY if each != name])
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "add":
        (folder / rng.choice(["model.pkl", ".hidden", "booster.ubj", "a b"])).write_bytes(rng.randbytes(9))
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "digest":
        stated = json.loads((folder / bundle.DIGESTS).read_bytes())
        change(stated, rng)
        (folder / bundle.DIGESTS).write_text(json.dumps(stated))


KINDS = ("flip", "truncate", "delete", "empty", "lengthen", "swap", "add", "folder", "digest")


def change(value: dict | list, rng: random.Random) -> None:
    """Change one value, at any depth, to something strange; or leave it out, or put it there twice."""
    while True:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        below = value[key]
        if isinstance(below, dict | list) and below and rng.random() < 0.85:
            value = below
            continue
        break
    how = rng.random()
    if how < 0.15:
        del value[key]
    elif how < 0.3 and isinstance(below, int | float):
        value[key] = below + rng.choice([-1, 1, 2, 1000])
    elif how < 0.4 and isinstance(value, list):
        value.append(below)
    else:
        value[key] = rng.choice([strange for strange in STRANGE if strange != below])


def reshape(file: Path, rng: random.Random) -> None:
    """Change a JSON or YAML file into another one, or into what is neither."""
    text = file.read_text()
    if rng.random() < 0.2:
        middle = rng.randrange(len(text))
        others = (DEEP, text[:middle], "null", "[]", '{"a": NaN}', f'{{"a": {DEEP}}}', "{}", "&a [*a]")
        file.write_text(rng.choice(others))
    elif file.suffix == ".yaml":
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        key = lines[at].partition(":")[0]
        others = ("", f"{key}: {rng.choice(STRANGE[:5])!r}", f"{key}: [", lines[at] * 2, f"  {lines[at]}")
        lines[at] = rng.choice(others)
        file.write_text("\n".join(lines))
    else:
        content = json.loads(text)
        change(content, rng)
        file.write_text(json.dumps(content))


def use(folder: Path) -> str:
    """Load a bundle and score with it; return what came of it, the name of an error or ``loaded``."""
    try:
        loaded = bundle.load(folder)
    except FraudError as error:
        return type(error).__name__
    loaded.probabilities(loaded.scores(np.random.default_rng(0).random((50, 3)).astype(np.float32)))
    return "loaded"


def main(source: Path, folder: Path, count: int, seed: int) -> None:
    ended = {name: collections.Counter() for name in bundle.FILES}
    for name in bundle.FILES:
        for number in range(count):
            copy = folder / f"{name}-{number}"
            shutil.copytree(source, copy)
            reshape(copy / name, random.Random(f"{seed} {number}"))  # noqa: S311
            reseal(copy)
            print("trying", copy.name, file=sys.stderr, flush=True)
            ended[name][use(copy)] += 1
            shutil.rmtree(copy)
    print(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
