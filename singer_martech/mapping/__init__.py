"""Map records to a vendor's format: templates and the fast path."""
