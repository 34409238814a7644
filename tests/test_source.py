"""The hash of a tree that differs from its commit: two versions of any file give two hashes."""

import subprocess

import pytest

from ganbench.machine.environment import source_changes, source_state, tree_changes


@pytest.fixture
def tree(tmp_path):
    """A git tree with one committed file, and a folder of results that does not count."""

    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("one\n")
    (tmp_path / "results").mkdir()
    git("add", ".")
    git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-m", "one")
    return tmp_path


def changes(tree):
    return tree_changes(tree, ".", ":!results")


def test_a_clean_tree_and_new_results_have_no_hash(tree):
    (tree / "results" / "run.jsonl").write_text("{}\n")
    assert changes(tree) == ""


@pytest.mark.parametrize("name", ["code.py", "new.py", "a folder/with spaces ü.py"])
def test_two_versions_of_a_file_give_two_hashes(tree, name):
    (tree / name).parent.mkdir(exist_ok=True)
    found = set()
    for content in ("two\n", "three\n"):
        (tree / name).write_text(content)
        found.add(changes(tree))
        assert changes(tree) in found  # the same content, the same hash
    assert len(found) == 2
    assert "" not in found


def test_a_file_that_is_gone_is_a_change(tree):
    (tree / "code.py").unlink()
    assert changes(tree)


def test_what_is_no_git_tree_has_no_hash(tmp_path):
    assert tree_changes(tmp_path, ".") == ""


def test_the_code_that_runs_names_its_commit():
    commit, dirty = source_state()
    assert (commit is None) == (dirty is None)
    assert isinstance(source_changes(), str)
