"""Profiles: the shipped ones are valid, and a bad one is answered with what is."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.cluster.profile import Profile, load_profile, parse_profile, profiles
from suite.errors import UsageError


def test_the_shipped_profiles_are_these() -> None:
    assert list(profiles()) == ["a100x1", "a100x4", "dev", "local"]


@pytest.mark.parametrize("name", list(profiles()))
def test_a_shipped_profile_is_valid(name: str) -> None:
    found = load_profile(name)
    assert (found.executor == "local") == (name == "local")


def test_four_gpus_are_four_processes_and_soft_labels_take_one() -> None:
    found = load_profile("a100x4")
    assert (found.tasks_per_node, found.gres) == (4, "gpu:a100:4")
    labels = found.of("labels")
    assert (labels.tasks_per_node, labels.gres, labels.time_minutes) == (
        1,
        "gpu:a100:1",
        found.time_minutes,
    )


def test_an_unknown_key_is_answered_with_all_valid_ones() -> None:
    with pytest.raises(UsageError, match="Unknown profile mine field 'gpus'; valid: account") as e:
        parse_profile({"gpus": 4}, "mine")
    assert all(name in str(e.value) for name in Profile.model_fields)


def test_an_unknown_key_for_soft_labels_is_answered_with_theirs() -> None:
    with pytest.raises(UsageError, match=r"'labels.gpus'; valid: constraint, .*time_minutes"):
        parse_profile({"labels": {"gpus": 1}}, "mine")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"nodes": 0}, "'nodes' cannot be 0"),
        ({"mem_gb": "much"}, "'mem_gb' cannot be 'much'"),
        ({"time_minutes": 2, "signal_seconds": 120}, "could never run"),
        ({"setup": "module load cuda"}, "'setup' cannot be 'module load cuda'"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(table: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_profile(table, "mine")


def test_a_misspelt_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'a100x4'"):
        load_profile("a100x44")


def test_a_profile_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('partition = "gpu"\nextra = {reservation = "paper"}\n')
    assert load_profile(str(path)).extra == {"reservation": "paper"}
    path.write_text("partition =\n")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(str(path))
    with pytest.raises(UsageError, match="There is no profile"):
        load_profile(str(tmp_path / "other.toml"))
