import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from mindlib.lessons.common.style import use_style


@pytest.fixture(autouse=True)
def styled():
    """Draw in the notebooks' style, without a window, and close the figures."""
    with mpl.rc_context({"backend": "Agg"}):
        use_style()
        yield
    plt.close("all")
