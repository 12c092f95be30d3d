"""Measures the plugins beside what people would use instead; see docs/performance.md."""
