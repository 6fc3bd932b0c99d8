"""Groups of embedding dimensions: ranges, permutation, collecting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from suite.errors import UsageError
from suite.quant.affine import AffineQuantizer
from suite.quant.groups import Groups, collecting, share
from suite.quant.ranges import estimator

WIDTH = 12


@pytest.fixture
def x() -> Tensor:
    """Activations [batch, tokens, width] with two outlier dimensions."""
    data = torch.randn(4, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    data[..., 3] += 30
    data[..., 7] *= 40
    return data


def grouped(count: int | None, **options: object) -> AffineQuantizer:
    return AffineQuantizer(
        8,
        symmetric=False,
        axis=-1,
        estimator=estimator("current_minmax"),
        groups=Groups(count, **options),  # type: ignore[arg-type]
    )


def permuted(x: Tensor, count: int) -> AffineQuantizer:
    q = grouped(count, permute=True)
    assert q.groups is not None
    with collecting([q.groups]):
        q(x)
    return q


def test_one_group_is_exactly_per_tensor(x) -> None:
    whole = AffineQuantizer(8, symmetric=False, estimator=estimator("current_minmax"))
    assert torch.equal(grouped(1)(x), whole(x))


def test_as_many_groups_as_dimensions_is_exactly_per_embedding(x) -> None:
    assert torch.equal(grouped(WIDTH)(x), grouped(None)(x))


def test_groups_share_the_range_of_their_neighbours(x) -> None:
    q = grouped(3)
    q(x)
    lo = x.amin((0, 1)).view(3, 4).amin(1)
    hi = x.amax((0, 1)).view(3, 4).amax(1)
    expected = ((hi.clamp(min=0) - lo.clamp(max=0)) / 255).repeat_interleave(4)
    torch.testing.assert_close(q.scale, expected)


def test_a_permutation_gives_what_permuting_the_tensor_would(x) -> None:
    q = permuted(x, 3)
    order = (x.amax((0, 1)) - x.amin((0, 1))).argsort()
    shuffled = grouped(3)(x[..., order])
    assert torch.equal(q(x)[..., order], shuffled)


def test_outliers_end_in_the_last_group(x) -> None:
    q = permuted(x, 3)
    assert q.groups is not None
    assert q.groups.index(WIDTH)[[3, 7]].max() == 2
    assert q.groups.index(WIDTH)[7] == 2
    assert q.groups.index(WIDTH).bincount().tolist() == [4, 4, 4]


def test_collecting_returns_the_input_itself(x) -> None:
    q = grouped(3, permute=True)
    assert q.groups is not None
    with collecting([q.groups]):
        assert q(x) is x
    assert q(x) is not x


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("last", lambda a, b: b),
        ("average", lambda a, b: 0.9 * a + 0.1 * b),
    ],
)
def test_several_batches_leave_the_last_or_an_average(x, how, expected) -> None:
    groups = Groups(3, permute=True, collect_by=how)
    first, second = x[:2], 2 * x[2:]
    for batch in (first, second):
        groups.collect(batch, -1)
    spans = [b.amax((0, 1)) - b.amin((0, 1)) for b in (first, second)]
    torch.testing.assert_close(groups.ranges, expected(*spans))


def test_a_union_of_batches_is_the_range_of_all_data(x) -> None:
    groups = Groups(3, permute=True, collect_by="union")
    for batch in x.split(1):
        groups.collect(batch, -1)
    torch.testing.assert_close(groups.ranges, x.amax((0, 1)) - x.amin((0, 1)))


def test_a_new_pass_forgets_the_old_one(x) -> None:
    groups = Groups(3, permute=True, collect_by="union")
    groups.collect(100 * x, -1)
    with collecting([groups]):
        groups.collect(x, -1)
    torch.testing.assert_close(groups.ranges, x.amax((0, 1)) - x.amin((0, 1)))


def test_a_shared_permutation_is_the_sources(x) -> None:
    source, other = Groups(3, permute=True), Groups(3, permute=True)
    source.collect(x, -1)
    other.collect(x.flip(-1), -1)
    share([source, other], source)
    assert torch.equal(other.index(WIDTH), source.index(WIDTH))


def test_a_running_average_is_taken_of_group_ranges(x) -> None:
    q = AffineQuantizer(
        8, symmetric=False, axis=-1, estimator=estimator("running_minmax"), groups=Groups(3)
    )
    q(x)
    q(-x)
    lo = [b.amin((0, 1)).view(3, 4).amin(1) for b in (x, -x)]
    hi = [b.amax((0, 1)).view(3, 4).amax(1) for b in (x, -x)]
    span = (0.9 * hi[0] + 0.1 * hi[1]) - (0.9 * lo[0] + 0.1 * lo[1])
    torch.testing.assert_close(q.scale, (span / 255).repeat_interleave(4))


def test_groups_work_with_symmetric_activations(x) -> None:
    q = AffineQuantizer(
        8, symmetric=True, axis=-1, estimator=estimator("current_minmax"), groups=Groups(3)
    )
    assert (q(x) - x).abs().max() <= q.scale.max()


@pytest.mark.parametrize("count", [5, 24])
def test_groups_that_do_not_divide_the_width_are_refused_with_those_that_do(x, count) -> None:
    with pytest.raises(UsageError, match="1, 2, 3, 4, 6, 12"):
        grouped(count)(x)


def test_a_permutation_without_collected_ranges_is_refused(x) -> None:
    with pytest.raises(UsageError, match="no ranges were collected"):
        grouped(3, permute=True)(x)


def test_a_permutation_without_groups_is_refused() -> None:
    with pytest.raises(UsageError, match="needs groups"):
        Groups(None, permute=True)


def test_a_tensor_without_the_axis_is_refused() -> None:
    q = AffineQuantizer(8, symmetric=False, axis=2, estimator=estimator("current_minmax"))
    with pytest.raises(UsageError, match="no axis 2"):
        q(torch.ones(3, 4))
