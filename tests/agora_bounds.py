"""How long a run of Agora can be, by counting."""


def max_rounds(num_settings: int, max_replays: int) -> int:
    """Most rounds of a run: an accepted one drops a setting, and others are replayed."""
    return num_settings + max_replays


def max_trials(num_settings: int, max_replays: int) -> int:
    """Most trainings of a run: n + (n - 1) + ... + 1, and all replays in round 1, since round 0 always helps."""
    return num_settings * (num_settings + 1) // 2 + max_replays * (num_settings - 1)
