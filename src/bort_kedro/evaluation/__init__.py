"""Evaluation: scores with intervals, leaderboards, submissions and what the stages cost."""
