"""Wiring: thin nodes that unpack, call and return."""
