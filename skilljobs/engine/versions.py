"""Which versions are installed here."""

from importlib.metadata import PackageNotFoundError, version

DECISIVE = ("skilljobs", "torch", "transformers")
"""The packages that all machines of a job must have in one version."""


def installed_version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def decisive_versions() -> dict[str, str]:
    """The versions that must be alike, by package."""
    return {package: version(package) for package in DECISIVE}
