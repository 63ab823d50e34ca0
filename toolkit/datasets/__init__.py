"""Ways data lies on disk: one file a format, each a `toolkit.core.ports.DatasetFormat`."""
