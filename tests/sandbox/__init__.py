"""The four vendors' APIs as one local server, for the tests and the demo."""
