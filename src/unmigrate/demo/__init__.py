"""The demonstration: a story told with the real commands on an embedded server."""
