"""Evaluation: scores with intervals, leaderboards and submissions."""
