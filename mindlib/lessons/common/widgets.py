"""Figures with sliders that need no kernel."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence

from IPython.display import HTML, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

MOST_FRAMES = 12  # of about 20 kB each: a page of several views stays small

# The script makes the sliders, so that a page that runs no scripts has no dead ones. Without the
# data attribute, JupyterLab would take their arrow keys.
VIEW = """\
<div>
<img src="%(picture)s" alt="%(alt)s" style="display: block; max-width: 100%%">
<script>
{
    const view = document.currentScript.parentElement, picture = view.querySelector("img");
    const frames = %(frames)s, controls = %(controls)s;
    frames[frames.indexOf(null)] = picture.src;
    const show = () => {
        let index = 0;
        for (const { texts, slider, output } of controls) {
            index = index * texts.length + slider.valueAsNumber;
            output.textContent = texts[slider.value];
            slider.setAttribute("aria-valuetext", texts[slider.value]);
        }
        picture.src = frames[index];
    };
    for (const control of controls) {
        const label = document.createElement("label");
        const slider = control.slider = document.createElement("input");
        const output = control.output = document.createElement("output");
        Object.assign(slider, { type: "range", min: 0, max: control.texts.length - 1 });
        slider.value = control.first;
        slider.dataset.lmSuppressShortcuts = "true";
        slider.style.cssText = "width: 16em; margin: 0 0.6em; vertical-align: middle";
        slider.addEventListener("input", show);
        label.style.cssText = "display: block; margin: 0.3em 0";
        label.append(control.name, slider, output);
        view.insertBefore(label, picture);
    }
    show();
}
</script>
</div>
"""


def frames(
    draw: Callable[..., Figure],
    alt: str,
    first: Mapping[str, object] | None = None,
    **values: Sequence[object],
) -> None:
    """Show `draw(**arguments)` with a slider for each argument, all frames drawn in advance.

    The view needs neither a kernel nor the network. A page that runs no scripts shows the first
    frame. The figures should have one size, and `layout="constrained"`.

    Args:
        draw: makes a figure from one value of each argument.
        alt: the text alternative of the figure.
        first: the value that an argument has first; by default the first of its values.
        values: the values of each argument in the order of its slider, whose label is the name of
            the argument with spaces for underscores.

    Raises:
        ValueError: there are too many frames.
    """
    count = math.prod(map(len, values.values()))
    if count > MOST_FRAMES:
        raise ValueError(f"{count} frames: expected at most {MOST_FRAMES}; leave out some values")
    start = {name: options[0] for name, options in values.items()} | dict(first or {})
    combinations = [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]
    pictures: list[str | None] = [_data_address(draw(**chosen)) for chosen in combinations]
    index = combinations.index(start)
    picture, pictures[index] = pictures[index], None
    controls = [
        {"name": name.replace("_", " "), "texts": list(map(str, options)),
         "first": list(options).index(start[name])}
        for name, options in values.items()
    ]  # fmt: skip
    parts = {
        "picture": picture,
        "alt": html.escape(alt),
        "frames": json.dumps(pictures),
        "controls": json.dumps(controls).replace("<", "\\u003c"),
    }
    display(HTML(VIEW % parts))


def _data_address(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True, dpi=100)
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
