"""From a record to what a vendor takes: templates and the fast path."""
