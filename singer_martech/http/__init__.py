"""One HTTP client for all vendors: retries, authentication and errors."""
