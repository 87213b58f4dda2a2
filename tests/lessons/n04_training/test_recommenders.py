"""A recommender that is made of scores ranks by them, without the history."""

import torch

from mindlib.data import Histories
from mindlib.lessons.n04_training.recommenders import Scored


def test_the_highest_scores_come_first_without_the_history():
    histories = Histories.from_lists([[3], [1, 2]])
    recommender = Scored(lambda part: torch.arange(5.0).repeat(len(part), 1), 4)
    assert recommender.recommend(histories, 2).items.tolist() == [[4, 2], [4, 3]]
    assert recommender.recommend(histories, 1, exclude_history=False).items.tolist() == [[4], [4]]
