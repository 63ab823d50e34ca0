"""The steps from a model file to verified builds, each `stage(value, settings, tools) -> next value`."""
