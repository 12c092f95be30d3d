"""JSON values, timestamps and validation, independent of Singer and HTTP."""
