"""Stable hashes: the same on every machine, Python version and run."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_SEPARATOR = b"\x1f"
SAMPLED_BLOCKS, BLOCK_BYTES = 64, 1 << 16


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


def sampled_digest(files: Iterable[Path]) -> str:
    """SHA-256 of the files' names, sizes, and blocks at even distances, the first and the last among them."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        last = max(0, size - BLOCK_BYTES)
        with path.open("rb") as file:
            for place in sorted({last * number // (SAMPLED_BLOCKS - 1) for number in range(SAMPLED_BLOCKS)}):
                file.seek(place)
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()
