"""The architecture of MIND (the paper's Fig. 2), drawn with tensor shapes and equation numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from mindlib.lessons.common.style import COLORS, INK

ALT_TEXT = (
    "Architecture of MIND: embeddings, B2I routing and ReLU layers yield interest vectors; "
    "label-aware attention and sampled softmax train them, an index serves them."
)

# Fills that are at least 4.5:1 under white text and 3:1 on white and on #111111.
DATA, USER, TRAINING, SERVING = "#6b6b6b", "#56688a", "#9a4bb0", "#2a7886"
INTERESTS = COLORS[:3]
WIDTH, HEIGHT = 700, 810  # in pixels at 100 dpi, which are also the units of all coordinates
VECTOR, PROFILE, IDS = 24, 12, (6, 6, 6)  # heights of the parts of a bar


@dataclass(frozen=True)
class Block:
    """An input or a layer, centred at (x, y), with notes on it centred at abscissae."""

    x: int
    y: int
    width: int
    height: int
    color: str
    title: str
    source: str
    notes: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Arrow:
    """A tensor between blocks.

    Attributes:
        ends: the blocks that it leaves and enters.
        paths: the corners of one line for each block that it enters.
        level: the height of its label, right of the line, and of its bars, left of the line.
        label: its name and shape.
        vectors: the colours of the bars, which stand for its vectors.
        parts: the heights of a bar's parts: one vector, ids, or two concatenated vectors.
    """

    ends: tuple[str, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]
    level: int
    label: str
    vectors: tuple[str, ...]
    parts: tuple[int, ...] = (VECTOR,)


def _up(x: int, start: int, end: int) -> tuple[tuple[tuple[int, int], ...]]:
    return (((x, start), (x, end)),)


BLOCKS = {
    "profile": Block(
        88, 32, 164, 62, DATA, "User profile", "§3.1", ((88, r"$\mathcal{P}_u$: gender, age, …"),)
    ),
    "behaviors": Block(
        310, 32, 240, 62, DATA, "Behaviors", "§3.1",
        ((310, r"$\mathcal{I}_u$: $n$ items of the user"),),
    ),
    "label": Block(
        570, 32, 240, 62, TRAINING, "Label item", "§3.1",
        ((570, r"$\mathcal{F}_i$, and $m$ sampled items"),),
    ),
    "embedding": Block(
        348, 154, 684, 62, USER, "Embedding and pooling", "Eq. 2, §3.2",
        (
            (88, "fields, concatenated"), (310, "mean of id, category, brand"),
            (570, "mean, same tables"),
        ),
    ),
    "routing": Block(
        310, 284, 320, 66, USER, "B2I dynamic routing", "Eqs. 4–9, §3.3",
        ((310, r"$K'_u = \max(1, \min(K, \log_2 n))$ capsules"),),
    ),
    "concatenation": Block(310, 396, 320, 36, USER, "Concatenation", "§3.3"),
    "head": Block(310, 490, 320, 36, USER, "ReLU layers", "Eq. 1, §3.3"),
    "index": Block(
        153, 634, 294, 62, SERVING, "ANN index", "§3.5, §5",
        ((153, "one search for each interest"),),
    ),
    "merge": Block(
        153, 750, 294, 62, SERVING, "Merged list", "Eq. 3, §3.5",
        ((153, "the $N$ items with the highest scores"),),
    ),
    "attention": Block(
        455, 634, 266, 62, TRAINING, "Label-aware attention", "§3.4",
        ((455, r"softmax of pow$(\mathbf{V}_u\, \vec e_i,\, p)$"),),
    ),
    "softmax": Block(
        506, 750, 368, 62, TRAINING, "Sampled softmax loss", "Eqs. 10–11, §3.5",
        ((506, "label $i$ against $m$ sampled items $j$"),),
    ),
}  # fmt: skip

ARROWS = (
    Arrow(("profile", "embedding"), _up(88, 63, 123), 93, r"$(f{,})$", (INK,), IDS),
    Arrow(("behaviors", "embedding"), _up(310, 63, 123), 93, r"$(n, 3)$", (INK,) * 8, IDS),
    Arrow(("label", "embedding"), _up(570, 63, 123), 93, r"$(1 + m, 3)$", (INK,) * 4, IDS),
    Arrow(
        ("embedding", "routing"), _up(310, 185, 251), 218, r"$\vec e_1, …, \vec e_n$  $(n, d)$",
        tuple(INTERESTS[k] for k in (0, 1, 0, 2, 1, 2, 0, 1)),
    ),
    Arrow(
        ("embedding", "concatenation"), (((96, 185), (96, 396), (150, 396)),), 284,
        "$\\vec p_u$\n$(d_p{,})$", (INK,), (PROFILE,),
    ),
    Arrow(
        ("routing", "concatenation"), _up(310, 317, 378), 348, r"$\vec u_j$  $(K'_u, d)$", INTERESTS
    ),
    Arrow(
        ("concatenation", "head"), _up(310, 414, 472), 443, r"$(K'_u, d + d_p)$", INTERESTS,
        (VECTOR, PROFILE),
    ),
    Arrow(
        ("head", "index", "attention"),
        (
            ((310, 508), (310, 570), (153, 570), (153, 603)),
            ((310, 508), (310, 570), (420, 570), (420, 603)),
        ),
        539, r"$\mathbf{V}_u$  $(K'_u, d)$", INTERESTS,
    ),
    Arrow(
        ("embedding", "index"), _up(60, 185, 603), 490,
        "all $\\vec e_i$\n$(|\\mathcal{I}|, d)$", (INK,) * 4,
    ),
    Arrow(("index", "merge"), _up(153, 665, 719), 692, r"$(K'_u, N)$", INTERESTS, IDS),
    Arrow(
        ("embedding", "attention"), _up(510, 185, 603), 440, "$\\vec e_i$\n$(d{,})$", (TRAINING,)
    ),
    Arrow(
        ("embedding", "softmax"), _up(608, 185, 719), 348,
        "$\\vec e_i, \\vec e_j$\n$(1 + m, d)$", (TRAINING, INK, INK, INK),
    ),
    Arrow(
        ("attention", "softmax"), _up(455, 665, 719), 692, r"$\vec v_u$  $(d{,})$", (TRAINING,)
    ),
)  # fmt: skip


def architecture(*highlighted: str, **lettered: str) -> Figure:
    """Draw MIND from its inputs, at the bottom, to the loss and the retrieved list.

    Args:
        highlighted: names of the `BLOCKS` that keep their colours; all of them if none is named.
        lettered: further ones, by the letter that marks each for a table beside the figure.
    """
    shown = {*highlighted, *lettered.values()} or set(BLOCKS)
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=200)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axis.set_axis_off()
    for arrow in ARROWS:
        _draw_arrow(axis, arrow, shown)
    for name, block in BLOCKS.items():
        _draw_block(axis, block, active=name in shown)
    for letter, block in ((letter, BLOCKS[name]) for letter, name in lettered.items()):
        style = {"boxstyle": "circle,pad=0.25", "fc": "#ffffff", "ec": block.color, "lw": 1.8}
        place = block.x + block.width / 2 - 8, block.y + block.height / 2
        axis.text(*place, letter, color=block.color, size=11, weight="bold", ha="center",
                  va="center", bbox=style)  # fmt: skip
    for x, phase, color in ((6, "Serving", SERVING), (322, "Training", TRAINING)):
        axis.text(x, HEIGHT - 14, phase, color=color, size=11, weight="bold", va="center")
    return figure


def show_architecture(*highlighted: str, **lettered: str) -> None:
    """Show `architecture(*highlighted, **lettered)` on the page, with its text alternative."""
    figure = architecture(*highlighted, **lettered)
    titles = ", ".join(BLOCKS[name].title for name in (*highlighted, *lettered.values()))
    alt = f"{ALT_TEXT} Highlighted: {titles}." if titles else ALT_TEXT
    display(figure, metadata={"image/png": {"alt": alt, "width": WIDTH}})


def _draw_block(axis: Axes, block: Block, *, active: bool) -> None:
    box = Bbox.from_bounds(
        block.x - block.width / 2, block.y - block.height / 2, block.width, block.height
    )
    _draw_box(axis, box, block.color if active else "none", radius=7)
    color = "#ffffff" if active else INK
    row = block.height / 5 if block.notes else 0
    texts: list[tuple[float, float, str, dict[str, Any]]] = [
        (box.x0 + 12, block.y + row, block.title, {"size": 11.5, "weight": "bold"}),
        (box.x1 - 12, block.y + row, block.source, {"size": 9.5, "ha": "right"}),
        *((x, block.y - row, note, {"size": 10, "ha": "center"}) for x, note in block.notes),
    ]
    for x, y, text, style in texts:
        axis.text(x, y, text, color=color, va="center_baseline", **style)


def _draw_arrow(axis: Axes, arrow: Arrow, shown: set[str]) -> None:
    source, *targets = arrow.ends
    for points, target in zip(arrow.paths, targets, strict=True):
        line = FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=11)
        line.set(color=INK, lw=1.3, alpha=0.4 if shown.isdisjoint((source, target)) else 1.0)
        axis.add_patch(line)
    active = not shown.isdisjoint(arrow.ends)
    alpha = 1.0 if active else 0.4
    x, y = arrow.paths[0][0][0], arrow.level
    axis.text(x + 10, y, arrow.label, color=INK, size=10.5, va="center")
    for place, color in enumerate(reversed(arrow.vectors)):
        bottom = y + 1 - sum(arrow.parts) / 2 - len(arrow.parts)
        for height in arrow.parts:
            fill = color if active and height == arrow.parts[0] else INK
            bar = Bbox.from_bounds(x - 18 - 11 * place, bottom, 8, height)
            _draw_box(axis, bar, fill, radius=2, alpha=alpha)
            bottom += height + 2


def _draw_box(axis: Axes, box: Bbox, fill: str, *, radius: int, alpha: float = 1.0) -> None:
    style = f"round,pad=0,rounding_size={radius}"
    patch = FancyBboxPatch((box.x0, box.y0), box.width, box.height, boxstyle=style)
    patch.set(fc=fill, ec=INK if fill == "none" else fill, lw=1.2, alpha=alpha)
    axis.add_patch(patch)
