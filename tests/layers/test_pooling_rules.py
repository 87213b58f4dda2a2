"""Padding where an item is its id alone: another path through the code than with features."""

import torch

from mindlib.layers.pooling import ItemEmbedding


def test_padding_without_features_is_zero_and_is_never_trained(generator):
    items = ItemEmbedding(4, 6, generator=generator)
    assert (items(torch.tensor([0])) == 0).all()
    assert (items.all()[0] == 0).all()
    items(torch.tensor([0, 1, 0])).sum().backward()
    assert items.weight.grad is not None
    gradient = items.weight.grad.to_dense()
    assert (gradient[0] == 0).all()
    assert (gradient[1] == 1).all()
