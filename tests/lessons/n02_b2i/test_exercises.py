"""The exercises of notebook 02: solutions pass, stubs fail, each mistake meets its own message."""

import pytest
import torch

from mindlib.layers.routing import squash
from mindlib.lessons.n02_b2i.exercises import NUMBER_OF_INTERESTS, ONE_ROUND


def test_number_of_interests_as_a_reader_may_write_it():
    def with_loop(lengths, most):
        return torch.tensor([max(1, min(most, int(n).bit_length() - 1)) for n in lengths])

    assert NUMBER_OF_INTERESTS.check(with_loop)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda n, k: n.double().log2().ceil().clamp(1, k).long(), "rounds the logarithm up"),
        (lambda n, k: n.double().log().floor().clamp(1, k).long(), "natural logarithm"),
        (lambda n, k: n.double().log2().floor().clamp(max=k).long(), "maximum with 1 is missing"),
    ],
)
def test_number_of_interests_written_wrongly(wrong, word, capsys):
    assert not NUMBER_OF_INTERESTS.check(wrong)
    assert word in capsys.readouterr().out


def test_one_round_written_with_a_loop_over_users():
    def with_loop(behaviors, bilinear_map, mask, active, logits):
        result = torch.zeros(*active.shape, behaviors.shape[2])
        for user in range(len(mask)):
            e, b = behaviors[user, mask[user]], logits[user][active[user]][:, mask[user]]
            result[user, active[user]] = squash(b.softmax(0) @ e @ bilinear_map.T)
        return result

    assert ONE_ROUND.check(with_loop)


def test_one_round_over_behaviours_with_the_mask_after(capsys):
    def wrong(behaviors, bilinear_map, mask, active, logits):
        weights = logits.softmax(-1).masked_fill(~mask[:, None], 0)
        return squash(weights @ (behaviors @ bilinear_map.T)) * active[:, :, None]

    assert not ONE_ROUND.check(wrong)
    assert "the mask comes after it" in capsys.readouterr().out
