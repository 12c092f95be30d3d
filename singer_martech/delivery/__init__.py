"""From a mapped record to the vendor and back to STATE."""
