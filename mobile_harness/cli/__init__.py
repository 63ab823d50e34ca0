"""The commands of the device side."""
