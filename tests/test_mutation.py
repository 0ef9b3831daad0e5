import subprocess
import sys
from pathlib import Path

import mutation

TOY = '''"""Text of 1 + 1."""

def clipped(value: float | None, low=0):
    if value < low:
        raise ValueError(f"below {low + 1}")
    return max(value, 3)
'''
TEST = """from toy import clipped

import pytest

def test_clipped():
    assert clipped(5) == 5
    with pytest.raises(ValueError):
        clipped(-1)
"""
RUN = """
import sys, mutation
from pathlib import Path
root = Path(sys.argv[1])
left = mutation.survivors(mutation.mutants_of(root / "toy.py"), "toy", [root / "test_toy.py"], root=root)
print(*(mutant.key for mutant in left), sep="\\n")
"""


def test_mutants_of_a_toy_module_change_values_and_no_text(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    assert [mutant.key for mutant in mutation.mutants_of(tmp_path / "toy.py")] == [
        "toy: 0 -> 1",
        "toy: value < low -> value <= low",
        "toy: value < low -> value >= low",
        "toy: return max(value, 3) -> return None",
        "toy: max -> min",
        "toy: 3 -> 4",
    ]


def test_survivors_are_those_that_no_test_notices(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TEST)
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n")
    folder = str(Path(mutation.__file__).parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{RUN}", str(tmp_path)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=1200)
    # Of -1 and 5, neither tells the limits 0 and 1, nor 3 and 4.
    assert found.stdout.splitlines() == ["toy: 0 -> 1", "toy: value < low -> value <= low", "toy: 3 -> 4"]


def test_a_room_of_many_mutants_is_drawn_from_by_the_seed():
    first, again = mutation.drawn("search"), mutation.drawn("search")
    keys = [[mutant.key for mutants in every.values() for mutant in mutants] for every in (first, again)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == mutation.MOST_A_ROOM
    assert sum(map(len, mutation.drawn("agora").values())) < mutation.MOST_A_ROOM


def test_the_page_counts_by_room_and_module():
    counted = mutation.Counted("tasks", "tasks/metrics.py", 20, 10, [(7, "metrics: a | b -> a & b")])
    text = mutation.page([counted])
    assert "| tasks | tasks/metrics.py | 20 | 10 | 9 | 90% |\n| **tasks** | all | 20 | 10 | 9 | 90% |" in text
    assert text.endswith("| tasks/metrics.py:7 | `a \\| b -> a & b` | No test asks for it. |\n")
