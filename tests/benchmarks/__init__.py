"""Benchmarks to run by hand: `python -m tests.benchmarks.NAME --help`. Their results are in RESULTS.md."""
