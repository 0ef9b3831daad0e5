"""Session: hooks that check, track and sum up a run; they never change its results."""
