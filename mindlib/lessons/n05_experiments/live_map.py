"""The map with titles on hover and a search: self-contained HTML, for light and dark pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mindlib.lessons.common.style import INK
from mindlib.lessons.n05_experiments.item_map import LABEL, MAP_COLORS, ON_LABEL, ItemMap

WIDTH, HEIGHT = 900, 720
PAGE = """\
<div id="ID" style="max-width:WIDTHpx;position:relative;font:14px sans-serif">
<label>Find a title: <input type="search" style="font:inherit"></label> <output></output>
<svg viewBox="0 0 WIDTH HEIGHT" width="100%" role="img" aria-label="Map of the items"></svg>
<div role="status" style="position:absolute;display:none;pointer-events:none;padding:2px 6px;
border-radius:4px;background:LABEL;color:DARK"></div></div>
<script>(() => {
const {items, genres, colors, stars} = DATA;
const root = document.getElementById("ID");
const svg = root.querySelector("svg"), tip = root.querySelector("div"), dots = [];
const bold = {"text-anchor": "middle", "font-weight": "bold"};
const add = (kind, values, text = "") => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const key in values) e.setAttribute(key, values[key]);
  e.textContent = text;
  return svg.appendChild(e);
};
const legend = (line, fill, text) =>
  add("text", {x: 0, y: 20 + 20 * line, fill, "font-size": 15, "font-weight": "bold"}, text);
const size = n => items[n][3] ? 3.2 : 2;
items.forEach(([x, y, g], n) =>
  dots.push(add("circle", {cx: x, cy: y, r: size(n), fill: colors[g] || "INK"})));
for (const [x, y, g, title, k] of items) if (k >= 0) {
  add("line", {x1: x, y1: y, x2: stars[k][0], y2: stars[k][1], stroke: "INK"});
  add("circle", {cx: x, cy: y, r: 7, fill: "LABEL", stroke: "DARK"});
  add("text", {x, y: y + 4, fill: "DARK", "font-size": 11, "text-anchor": "middle"}, k + 1);
}
stars.forEach(([x, y, words], k) => {
  add("circle", {cx: x, cy: y, r: 12, fill: "DARK", stroke: "LABEL", "stroke-width": 2});
  add("text", {x, y: y + 5, fill: "#fff", "font-size": 14, ...bold}, k + 1);
  legend(k, "INK", k + 1 + " " + words);
});
colors.forEach((color, n) => legend(stars.length + 1 + n, color, "• " + genres[n]));
legend(stars.length + 1 + colors.length, "INK", "• other genres");
const show = n => {
  tip.style.display = n < 0 ? "none" : "block";
  if (n < 0) return;
  const [x, y, g, title] = items[n], scale = svg.clientWidth / WIDTH;
  tip.textContent = title + " (" + genres[g] + ")";
  tip.style.left = Math.min(x * scale, svg.clientWidth - tip.offsetWidth) + "px";
  tip.style.top = root.offsetHeight - (HEIGHT - y - 14) * scale + "px";
};
svg.addEventListener("pointermove", event => {
  const box = svg.getBoundingClientRect(), scale = box.width / WIDTH;
  const px = (event.clientX - box.left) / scale, py = (event.clientY - box.top) / scale;
  const far = items.map(([x, y, , title]) => title ? (x - px) ** 2 + (y - py) ** 2 : Infinity);
  const least = Math.min(...far);
  show(least < 150 ? far.indexOf(least) : -1);
});
svg.addEventListener("pointerleave", () => show(-1));
root.querySelector("input").addEventListener("input", event => {
  const text = event.target.value.toLowerCase();
  const found = items.map(item => text && item[3].toLowerCase().includes(text));
  dots.forEach((dot, n) => dot.setAttribute("r", found[n] ? 8 : size(n)));
  root.querySelector("output").textContent = text && found.filter(Boolean).length + " found";
  show(found.indexOf(true));
});
})()</script>
"""


def live_map(
    view: ItemMap, labels: Sequence[str], counts: np.ndarray, titles: int | None = None
) -> str:
    """Write the map as HTML that needs no network: hover or search shows the title of an item.

    Args:
        labels, counts: the title of each item, and how often it occurs.
        titles: besides the user's items, only this number of the most frequent ones keep their
            title (None: all do). A data set's licence may forbid to publish more.
    """
    kept = view.interest >= 0
    kept[np.argsort(-counts, kind="stable")[:titles]] = True
    texts = [label if keep else "" for label, keep in zip(labels, kept.tolist(), strict=True)]
    low, high = view.points.min(0), view.points.max(0)

    def placed(points: np.ndarray, texts: Sequence[str]) -> list[list[Any]]:
        x, y = (40 + (points - low) / (high - low) * [WIDTH - 80, HEIGHT - 80]).round().T
        return [[int(a), int(HEIGHT - b), text] for a, b, text in zip(x, y, texts, strict=True)]

    genres = [*view.named, *sorted(set(view.genres) - set(view.named))]
    facts = {
        "genres": genres,
        "colors": MAP_COLORS[: len(view.named)],
        "items": [
            [x, y, genres.index(genre), title, k]
            for (x, y, genre), title, k in zip(
                placed(view.points, view.genres), texts, view.interest.tolist(), strict=True
            )
        ],
        "stars": placed(view.stars, view.words),
    }
    data = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    page = PAGE.replace("WIDTH", str(WIDTH)).replace("HEIGHT", str(HEIGHT)).replace("INK", INK)
    page = page.replace("ID", "mindlib-map").replace("LABEL", LABEL).replace("DARK", ON_LABEL)
    return page.replace("DATA", data)
