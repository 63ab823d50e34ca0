"""Values, errors and seams that every other room builds on. Imports nothing of palmtop above itself."""
