"""The kinds of features: every module here holds one."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from fraud.features.kind import Kind

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

KINDS: Final[dict[str, type[Kind]]] = {
    kind.keyword: kind for kind in sorted(Kind.__subclasses__(), key=lambda kind: kind.keyword)
}
"""By the keyword that starts an entry."""
