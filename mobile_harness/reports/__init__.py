"""Ways to show a run: one file a format, each a `mobile_harness.reports.base.Report`."""
