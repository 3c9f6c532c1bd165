"""A slab's result has the same bits alone and merged with any other slabs, in any order."""

import pytest
import torch
from hypothesis import given

from ce_engine import slabs
from ce_engine._batching.launchers import launch, launch_merged
from tests.ce_engine.engine.companions import companions
from tests.present import present


def same_bits(ours, theirs):
    return ours is theirs is None or torch.equal(torch.nan_to_num(ours, 0.125), torch.nan_to_num(theirs, 0.125))


@given(companions())
def test_merging_changes_no_bit(together):
    assert len({slab.kind for slab in together}) == 1
    for slab, merged in zip(together, launch_merged(together), strict=True):
        alone = launch(slab)
        for name, ours, theirs in zip(alone._fields, merged, alone, strict=True):
            assert same_bits(ours, theirs), name
            assert ours is None or ours.shape == present(theirs).shape


def test_result_frees_its_companions():
    together = [slabs.cross_entropy(torch.randn(rows, 5), torch.zeros(rows).long(), grad=True) for rows in (1, 1000)]
    small, _ = launch_merged(together)
    for x in (small.losses, present(small.grad)):
        assert x.untyped_storage().nbytes() == x.nbytes


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_column_is_neutral(missing):
    input, target = torch.randn(3, 5), torch.tensor([0, 1, -100])
    options = [{"weight": torch.rand(5), "sample_weight": torch.rand(3)}, {}]
    targets = [target, target.clamp(min=0)]
    together = [
        slabs.cross_entropy(input, targets[index], grad=True, **options[index]) for index in (missing, 1 - missing)
    ]
    for slab, merged in zip(together, launch_merged(together), strict=True):
        assert torch.equal(present(merged.grad), present(launch(slab).grad))
