"""Runs ML Programs on any host."""
