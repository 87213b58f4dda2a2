"""The losses of the targets of a model with several interests."""

import math

import pytest
import torch

from mindlib.lessons.n03_attention.measures import label_losses
from tests.fixed_interests import BOTH, FIRST, ITEMS, Fixed, cases


@pytest.mark.parametrize(("active", "hint"), [(BOTH, math.log(2)), (FIRST, 0.0)])
def test_the_hint_is_what_a_division_of_the_catalogue_wins(active, hint):
    model = Fixed(torch.tensor([[50.0, 0.0], [0.0, 50.0]]), active, ITEMS)
    found = label_losses(model, cases([[1], [2]], [[3], [4]], 4))
    torch.testing.assert_close(found.label, torch.full((2,), math.log(2)))
    torch.testing.assert_close(found.hint, torch.full((2,), hint))
    both = math.log(4) if hint else math.log(2)
    torch.testing.assert_close(found.candidate, torch.full((2,), both))
