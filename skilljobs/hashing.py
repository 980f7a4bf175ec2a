"""Stable hashes, which are the same on every machine, in every Python version and in every run."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_SEPARATOR = b"\x1f"
SAMPLED_BLOCKS, BLOCK_BYTES = 64, 1 << 16


def stable_digest(*parts: object, size: int = 8) -> bytes:
    """Return `size` bytes (at most 64) that depend on the text of all `parts` and on their order."""
    return hashlib.blake2b(_SEPARATOR.join([str(part).encode() for part in parts]), digest_size=size).digest()


def digest_of_many(parts: Iterable[object], size: int = 8) -> bytes:
    """Return what `stable_digest` returns of all `parts`, of which no more than one is held at a time."""
    digest, separator = hashlib.blake2b(digest_size=size), b""
    for part in parts:
        digest.update(separator + str(part).encode())
        separator = _SEPARATOR
    return digest.digest()


def stable_hash(*parts: object) -> int:
    """Return a 64-bit unsigned integer, distributed uniformly over the texts of `parts`."""
    return int.from_bytes(stable_digest(*parts), "big")


def stable_digests(texts: Iterable[str], *parts: object) -> bytes:
    """Return what `stable_digest` returns of `parts` and each text behind them, 8 bytes each, joined.

    As unsigned integers of which the first byte is the highest, they are what `stable_hash` returns.
    """
    begun = hashlib.blake2b(b"".join(str(part).encode() + _SEPARATOR for part in parts), digest_size=8)

    def digest(text: str) -> bytes:
        of_text = begun.copy()
        of_text.update(text.encode())
        return of_text.digest()

    return b"".join(map(digest, texts))


def stable_uniform(*parts: object) -> float:
    """Return a number in [0, 1), distributed uniformly over the texts of `parts`."""
    return (stable_hash(*parts) >> 11) * 2.0**-53


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of `paths`, in the order of their names, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode() + _SEPARATOR)
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def sampled_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names, sizes and sampled blocks of files, as hexadecimal digits.

    The `SAMPLED_BLOCKS` blocks of `BLOCK_BYTES` bytes are spaced evenly over each file and include the first and the
    last block.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        last = max(0, size - BLOCK_BYTES)
        with path.open("rb") as file:
            for offset in sorted({last * number // (SAMPLED_BLOCKS - 1) for number in range(SAMPLED_BLOCKS)}):
                file.seek(offset)
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()
