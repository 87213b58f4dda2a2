"""A notebook's parameters are checked, and what it leaves behind is whole or not there."""

import json
import math
import os
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from mindlib.lessons.common.report import (
    Number,
    Text,
    check_parameters,
    output_folder,
    save_figure,
    write_metrics,
)
from mindlib.lessons.common.style import STYLE

RULES = {
    "epochs": Number(1.0, 100.0, whole=True),
    "sigma": Number(0.0, 10.0),
    "dataset": Text(),
}
GOOD = {"epochs": 3, "sigma": 0.5, "dataset": "planted"}


def session(*cells: str, **values: object) -> dict[str, object]:
    """The globals of a notebook after some cells; IPython keeps their sources in `In`."""
    return {"In": ["", *cells], **GOOD, **values}


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is written into the repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINDLIB_OUTPUT", raising=False)
    monkeypatch.delenv("MINDLIB_FIGURES", raising=False)


def test_good_parameters_are_accepted_with_and_without_papermill():
    check_parameters(session("# Parameters\nepochs = 5\n", epochs=5), RULES)
    check_parameters(session("epochs: int = 3", "check_parameters(globals(), RULES)"), RULES)
    check_parameters(GOOD, RULES)  # a plain script has no In


def test_a_misspelt_injected_name_is_refused_naming_the_valid_ones():
    cells = ("epochs: int = 3", "# Parameters\nepochs = 5\nepoch = 9\n")
    with pytest.raises(NameError, match=r"'epoch' is no parameter .* epochs, sigma, dataset"):
        check_parameters(session(*cells, epoch=9), RULES)


def test_a_name_that_only_the_reader_made_is_nobodys_business():
    cells = ("note = 1", "epochs = 7  # tried by hand", "check_parameters(globals(), RULES)")
    check_parameters(session(*cells, *cells, note=1, epochs=7), RULES)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, r"epochs=0: expected 1(\.0)? to 100"),
        ("epochs", 101, "epochs=101"),
        ("epochs", 2.0, r"epochs=2\.0: expected a whole number"),
        ("epochs", True, "epochs=True: expected a whole number"),
        ("epochs", "3", "epochs='3'"),
        ("epochs", None, "epochs=None"),
        ("sigma", -0.1, r"sigma=-0\.1: expected 0(\.0)? to 10"),
        ("sigma", math.nan, "sigma=nan"),
        ("sigma", math.inf, "sigma=inf"),
        ("sigma", False, "sigma=False"),
        ("sigma", [1.0], "sigma=.1.0.: expected a number"),
        ("dataset", " ", "dataset=' ': expected a text"),
        ("dataset", 5, "dataset=5: expected a text"),
    ],
)
def test_a_value_of_the_wrong_kind_or_out_of_range_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        check_parameters(session(**{name: value}), RULES)


@pytest.mark.parametrize(("name", "value"), [("epochs", 1), ("epochs", 100), ("sigma", 10)])
def test_the_ends_of_a_range_belong_to_it(name, value):
    check_parameters(session(**{name: value}), RULES)


def test_output_goes_beside_the_executed_notebook_or_into_build(tmp_path, monkeypatch):
    assert output_folder() == tmp_path / "build"
    monkeypatch.setenv("MINDLIB_OUTPUT", str(tmp_path / "deep" / "er" / "05.ipynb"))
    assert output_folder() == tmp_path / "deep" / "er"
    assert output_folder().is_dir()
    assert write_metrics("05", {"x": 1}) == tmp_path / "deep" / "er" / "05.metrics.json"


def test_metrics_come_back_as_they_were_written():
    metrics = {"model": {"HitRate@10": 0.1 + 0.2, "runs": [1, 2.5]}, "users": 7, "name": "K′"}
    assert json.loads(write_metrics("a", metrics).read_text(encoding="utf-8")) == metrics


@pytest.mark.parametrize(
    ("metrics", "place"),
    [
        ({"a": math.nan}, "a is nan"),
        ({"a": {"b": -math.inf}}, "a/b is -inf"),
        ({"a": {"b": [1.0, math.nan]}}, "a/b/1 is nan"),
    ],
)
def test_a_metric_that_is_not_finite_is_refused_by_name(metrics, place):
    with pytest.raises(ValueError, match=f"the metric {place}; a metric must be a finite number"):
        write_metrics("a", metrics)
    assert not list(output_folder().iterdir())


def test_a_failure_while_writing_leaves_the_old_metrics_and_nothing_else(monkeypatch):
    path = write_metrics("a", {"x": 1})
    before = path.read_bytes()

    def full_disk(self: Path, text: str, **options: object) -> None:
        with open(self, "w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="no space left"):
            write_metrics("a", {"x": 2})
    assert path.read_bytes() == before
    assert list(output_folder().iterdir()) == [path]


def test_a_failure_while_replacing_leaves_the_old_metrics_and_nothing_else(monkeypatch):
    path = write_metrics("a", {"x": 1})
    before = path.read_bytes()

    def refuse(*arguments: object) -> None:
        raise PermissionError("in use")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError, match="in use"):
            write_metrics("a", {"x": 2})
    assert path.read_bytes() == before
    assert list(output_folder().iterdir()) == [path]


def draw() -> Figure:
    """A figure with clipped artists, whose ids in an SVG are random unless a salt is given."""
    figure = Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([0, 1, 4, 9])
    axes.scatter([1, 2], [3, 4])
    axes.set_title("squares")
    return figure


def test_the_same_figure_is_the_same_file(tmp_path):
    with mpl.rc_context(STYLE):
        first = save_figure(draw(), "first.svg").read_bytes()
        again = save_figure(draw(), "again.svg").read_bytes()
    assert first == again
    assert b"dc:date" not in first


def test_a_saved_figure_has_a_transparent_background():
    picture = save_figure(draw(), "squares.png")
    pixels = image.imread(picture)
    assert pixels[0, 0, 3] == 0
    assert pixels[..., 3].max() == 1


def test_figures_go_where_they_are_asked_for_or_beside_the_notebook(tmp_path, monkeypatch):
    assert save_figure(draw(), "a.svg") == tmp_path / "build" / "figures" / "a.svg"
    monkeypatch.setenv("MINDLIB_FIGURES", str(tmp_path / "figures"))
    assert save_figure(draw(), "a.svg") == tmp_path / "figures" / "a.svg"
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["a.svg"]


def test_a_figure_that_cannot_be_written_leaves_the_old_one_and_nothing_else(monkeypatch):
    path = save_figure(draw(), "a.svg")
    before = path.read_bytes()

    def full_disk(self: Figure, part: Path, **options: object) -> None:
        part.write_bytes(b"<svg")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Figure, "savefig", full_disk)
        with pytest.raises(OSError, match="no space left"):
            save_figure(draw(), "a.svg")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
