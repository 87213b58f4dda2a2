"""The figures of notebook 03 hold the numbers that they are given."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from mindlib.evaluation import Estimate
from mindlib.lessons.n03_attention import figures as plots

SHARES = np.array([[0.5, 0.3, 0.2], [0.1, 0.0, 0.9]])
SCALES = np.linspace(0, 8, 5)
LOSSES = {"served": np.full(5, 1.4), "Eq. 10": np.linspace(1.4, 0.7, 5)}
TRAINING = np.array([1.0, -1.0, -2.0, 2.0, 0.0])
SERVING = np.array([1.0, 3.0, 0.5, 2.0, 1.5])
FILMS = ["label", "first", "behind", "ahead", "second"]
RATES = {
    "MIND-1": (Estimate(0.20, 0.19, 0.21), Estimate(0.20, 0.19, 0.21)),
    "MIND-4": (Estimate(0.15, 0.14, 0.16), Estimate(0.40, 0.39, 0.41)),
}
FIGURES = {
    "shares": lambda: plots.shares_by_interest(SHARES, ["x", "y"], ["1", "2", "3"], "weight"),
    "division": lambda: plots.division(SCALES, LOSSES),
    "two_scores": lambda: plots.two_scores(TRAINING, SERVING, 0, FILMS),
    "rates": lambda: plots.served_and_oracle(RATES, Estimate(0.60, 0.59, 0.61)),
}


def texts(figure):
    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text)]


def test_the_bars_of_a_row_have_its_shares():
    axis = FIGURES["shares"]().axes[0]
    widths = [bar.get_width() for bar in axis.patches if isinstance(bar, Rectangle)]
    assert widths == pytest.approx(SHARES.T.flatten())


def test_the_films_that_overtake_the_label_are_counted_and_named():
    found = texts(FIGURES["two_scores"]())
    assert "2 films overtake the label at serving" in found
    assert {"first", "second"} <= set(found)
    assert not {"behind", "ahead"} & set(found)


def test_each_model_has_its_rates_and_their_labels():
    axis = FIGURES["rates"]().axes[0]
    points = [np.asarray(path.get_offsets())[0] for path in axis.collections]
    assert np.allclose(points, [(20, 0), (60, 0), (15, 1), (40, 1)])
    assert [text.get_text().split(": ")[1] for text in axis.texts] == [
        "20.0 %", "60.0 %", "15.0 %", "40.0 %",
    ]  # fmt: skip
