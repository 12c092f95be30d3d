"""Benchmarks of the plugins and of alternatives; see docs/performance.md."""
