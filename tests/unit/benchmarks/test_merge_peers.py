"""A peer that cannot run on this machine says what it needs, before anything is measured."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from benchmarks.merge import sparks
from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.expected import Expected
from benchmarks.merge.peers import DeltaLite
from benchmarks.merge.work import Engine, Missing, Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A merge into a table without rows."""
    changes = ChangeSet(0, 400, "first")
    return Work(Data(tmp_path, 0), (changes,), Expected(0, 0, 0, 0, (), ""), tmp_path / "work")


@pytest.mark.parametrize("engine", [sparks.Spark(), sparks.SparkIceberg()])
def test_spark_says_that_it_needs_java(engine: Engine, work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(work.folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Missing, match="Java"):
        engine.prepare(work)


def test_iceberg_for_spark_says_that_it_needs_its_runtime(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(sparks, "_APART", work.folder)
    with pytest.raises(Missing, match=r"make bench-merge.* by Maven"):
        sparks.SparkIceberg().prepare(work)


def test_deltalite_says_which_python_it_needs(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"3\.12 or later"):
        DeltaLite().prepare(work)
