"""Arrays: who shares one, how large they get, what they wait for, how many there are."""

from __future__ import annotations

import pytest

from suite.cluster.batches import GROUPS, batches, dependency
from suite.cluster.sweep import Job
from tests.unit.sweeps import job


def test_a_job_comes_after_what_it_needs() -> None:
    jobs = [job("c", "labels-x", "f"), job("labels-x", "f", labels=True), job("f")]
    found = batches(jobs, 100)
    assert [batch.keys for batch in found] == [("f",), ("labels-x",), ("c",)]
    assert [batch.needs for batch in found] == [(), ("f",), ("labels-x", "f")]


def test_jobs_that_wait_for_the_same_share_an_array() -> None:
    jobs = [job("f0"), job("f1"), job("a", "f0"), job("b", "f1"), job("c", "f0")]
    assert [batch.keys for batch in batches(jobs, 100)] == [("f0", "f1"), ("a", "c"), ("b",)]


def test_a_job_whose_need_is_done_waits_for_nothing() -> None:
    (batch,) = batches([job("a"), job("b")], 100)
    assert batch.keys == ("a", "b")
    assert batch.needs == ()


def test_jobs_with_other_resources_get_arrays_of_their_own() -> None:
    found = batches([job("a"), job("labels-x", labels=True)], 100)
    assert [batch.resources for batch in found] == ["cells", "labels"]


@pytest.mark.parametrize("largest", [1, 3, 7, 1001])
def test_no_array_is_larger_than_it_may_be(largest: int) -> None:
    jobs = [job("f"), *(job(f"c{i}", "f") for i in range(20))]
    found = batches(jobs, largest)
    assert max(len(batch.jobs) for batch in found) <= largest
    assert sorted(key for batch in found for key in batch.keys) == sorted(j.key for j in jobs)


def many(seeds: int, each: int) -> list[Job]:
    """`each` cells of every seed, on an FP32 cell and soft labels of that seed."""
    found = []
    for seed in range(seeds):
        found += [job(f"f{seed}"), job(f"labels-{seed}", f"f{seed}", labels=True)]
        found += [job(f"c{seed}-{i}", f"f{seed}", f"labels-{seed}") for i in range(each)]
    return found


def test_the_number_of_calls_does_not_grow_with_the_prerequisites() -> None:
    jobs = many(seeds=500, each=6)
    found = batches(jobs, 1001)
    assert len(found) == 1 + 1 + 3
    assert len(batches(many(seeds=GROUPS, each=6), 1001)) <= 3 * GROUPS


def test_a_dependency_names_elements_and_waits_for_the_end_of_any_kind() -> None:
    ids = {"f0": "12_0", "f1": "12_1", "labels-x": "13"}
    assert dependency(("f1", "labels-x"), ids) == "afterany:12_1:13"
    assert dependency(("f9",), ids) == ""


def test_a_dependency_on_many_names_their_arrays_once() -> None:
    needs = tuple(f"f{i}" for i in range(40))
    ids = {key: f"{12 + number % 2}_{number}" for number, key in enumerate(needs)}
    assert dependency(needs, ids) == "afterany:12:13"
