"""A page that shows what runs did: ``singer-martech-report``."""
