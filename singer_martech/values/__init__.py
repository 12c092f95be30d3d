"""JSON values, validation, timestamps and wording, independent of Singer and HTTP."""
