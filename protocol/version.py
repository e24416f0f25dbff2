"""Which Trunkline this process runs."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def own_version() -> str:
    """As installed; empty where the code runs without having been installed."""
    try:
        return version("trunkline")
    except PackageNotFoundError:
        return ""
