"""Model formats a user may bring: one file a format, each a `toolkit.core.ports.Source`."""
