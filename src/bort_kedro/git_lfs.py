"""Files that Git has left a note in place of, because Git LFS did not fetch them."""

# How the note begins, see https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; older ones name another host.
_BEGINS = (b"version https://git-lfs", b"version https://hawser")


def pointer_fault(start: bytes) -> str:
    """What is wrong with a file that begins so, or "" where it is no pointer of Git LFS."""
    return (
        "is a pointer of Git LFS, not the file itself (`git lfs pull` fetches it)" if start.startswith(_BEGINS) else ""
    )
