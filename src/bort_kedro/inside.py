"""Files that other files name: they must lie in the folder that they were named for."""

from pathlib import Path


def outside_fault(folder: Path, name: object, *, of: Path | None = None) -> str:
    """What is wrong with the name of a file of a folder, or "" where the file lies in it.

    Args:
        folder: That the file must lie in; it may be a link itself.
        name: As another file or an archive has it.
        of: The file that has the name. Where it is a link, files beside its target are as good, since the hub's cache
            is made of links to one folder.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        return f"{name!r} is no name of a file"
    # A backslash parts folders on another system.
    parts = Path(name.replace("\\", "/")).parts
    if ".." in parts or Path(name).is_absolute() or (parts[:1] and parts[0].endswith(":")):
        return f"`{name}` leads out of the folder"
    try:
        target = (folder / name).resolve()
    except (OSError, RuntimeError):  # the latter for a link to itself
        return f"`{name}` is a link that leads nowhere"
    places = [folder.resolve(), *([of.resolve().parent] if of is not None else [])]
    return "" if any(map(target.is_relative_to, places)) else f"`{name}` is a link out of the folder, to {target}"
