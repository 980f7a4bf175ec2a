"""The versions of packages that are installed here."""

from importlib.metadata import PackageNotFoundError, version

DECISIVE = ("skilljobs", "torch", "transformers")
"""The packages that must have the same version on all machines of a job."""


def installed_version(package: str) -> str | None:
    """The version of `package`; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def decisive_versions() -> dict[str, str]:
    """The versions that must be the same on all machines, by package."""
    return {package: version(package) for package in DECISIVE}
