"""Process-level helpers: signals, threads, files and redaction."""
