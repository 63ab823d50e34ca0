"""Ways to reach a device: one file a transport, each a `mobile_harness.transports.base.Transport`."""
