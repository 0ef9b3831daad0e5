"""Latency: timed under stated conditions, and modelled from operations."""
