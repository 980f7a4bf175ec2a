"""Stable hashes: the same on every machine, Python version and run."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_SEPARATOR = b"\x1f"


def stable_digest(*parts: object, size: int = 8) -> bytes:
    """`size` bytes (at most 64) that depend on the text of all `parts` and on their order."""
    return hashlib.blake2b(_SEPARATOR.join(str(part).encode() for part in parts), digest_size=size).digest()


def stable_hash(*parts: object) -> int:
    """A 64-bit unsigned integer, uniform over the texts of `parts`."""
    return int.from_bytes(stable_digest(*parts), "big")


def stable_uniform(*parts: object) -> float:
    """A number in [0, 1), uniform over the texts of `parts`."""
    return (stable_hash(*parts) >> 11) * 2.0**-53


def digest_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of `paths`, read in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode() + _SEPARATOR)
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
