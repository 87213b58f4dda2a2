"""Brand, department and category of `brand|department|...|leaf`, where the brand may be missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.readers.features import parse_branded_paths, read_features

Row = tuple[str | None, str | None, str | None]
BEAUTY: dict[str | None, Row] = {
    "OPI|Makeup|Nails|Nail Polish": ("OPI", "Makeup", "Makeup > Nails > Nail Polish"),
    "Makeup|Face|Concealers": (None, "Makeup", "Makeup > Face > Concealers"),
    "Unknown|Skin Care|Face": (None, "Skin Care", "Skin Care > Face"),
    "Skin Care": (None, "Skin Care", "Skin Care"),
    # A brand's name may be that of a level further down.
    "Face|Makeup|Eyes": ("Face", "Makeup", "Makeup > Eyes"),
    "Cococare | Skin Care|Body|Oils": ("Cococare", "Skin Care", "Skin Care > Body > Oils"),
    "Skin Care|Sun|Oils": (None, "Skin Care", "Skin Care > Sun > Oils"),
    # A department in the brand's place, as two items of Beauty have it.
    "Skin Care|Skin Care|Body": (None, "Skin Care", "Skin Care > Body"),
    "Bath &amp; Co|Makeup": ("Bath & Co", "Makeup", "Makeup"),
    "WEN&reg; by C|Makeup": ("WEN&reg; by C", "Makeup", "Makeup"),
    "Freeman": ("Freeman", None, None),
    "unknown": (None, None, None),
    "": (None, None, None),
    None: (None, None, None),
}


def test_a_first_part_is_a_brand_unless_it_is_a_department():
    assert parse_branded_paths(pl.Series(list(BEAUTY))).rows() == list(BEAUTY.values())


def test_a_table_of_unknown_texts():
    assert (
        parse_branded_paths(pl.Series([None, ""], dtype=pl.String)).rows()
        == [(None, None, None)] * 2
    )


DEPARTMENTS, LEVELS, BRANDS = "ABC", ["l1", "l2"], ["x", "y", "Unknown", None]


@given(
    st.lists(
        st.tuples(st.sampled_from(BRANDS), st.sampled_from(DEPARTMENTS), st.sampled_from(LEVELS)),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_tables_with_every_department_behind_a_brand_are_parsed_back(
    items: list[tuple[str | None, str, str]], order
):
    # "l1" is also a brand here: it must not be taken for a level.
    items = [*items, *itertools.product(["x"], DEPARTMENTS, LEVELS), ("l1", "A", "l2")]
    order.shuffle(items)
    texts = ["|".join(part for part in item if part) for item in items]
    assert parse_branded_paths(pl.Series(texts)).rows() == [
        (None if brand == "Unknown" else brand, department, f"{department} > {level}")
        for brand, department, level in items
    ]


def test_a_column_that_is_there_is_not_replaced(tmp_path: Path):
    path = tmp_path / "items.csv"
    path.write_text("item,attributes,brand\n1,OPI|Makeup|Nails,Other\n", encoding="utf-8")
    found = read_features(path, None)
    assert found["item_fields"] == ["brand", "department", "category"]
    columns = found["items"].select(found["item_fields"])
    assert columns.rows() == [("Other", "Makeup", "Makeup > Nails")]
