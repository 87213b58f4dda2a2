"""Notebook 00's exercises: mindlib's own pooling passes, a division by zero is noticed."""

import torch

from mindlib.layers.pooling import ItemEmbedding
from mindlib.lessons.n00_problem.exercises import POOLING


def test_a_division_by_no_known_feature_is_noticed(capsys):
    def pool(table, codes):
        known = (codes > 0)[:, :, None]
        return (table[codes] * known).sum(1) / known.sum(1)

    assert not POOLING.check(pool)
    assert "not finite" in capsys.readouterr().out


def test_mindlibs_pooling_passes(generator):
    def pool(table, codes):
        module = ItemEmbedding(len(codes), table.shape[1], generator=generator)
        module.codes = torch.cat([codes.new_zeros(1, codes.shape[1]), codes])
        known = (module.codes > 0).sum(1, keepdim=True).clamp(min=1)
        module.slot_weights = (1 / known).expand(module.codes.shape)
        module.weight = torch.nn.Parameter(table)
        return module(torch.arange(1, len(codes) + 1)).detach()

    assert POOLING.check(pool)
