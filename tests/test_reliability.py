"""docs/reliability.md has the rows of the tests, and no others."""

from pathlib import Path

from tests.reliability import PAGE, format_row, page_rows

TESTS = Path(__file__).resolve().parent


def test_every_row_of_the_page_has_a_test() -> None:
    assert len(page_rows()) >= 60
    root = TESTS.parent
    for row in page_rows().values():
        file = root / row.rstrip(" |").rpartition(" | ")[2]
        assert file.is_file(), f"{row}: make reliability"


def test_a_row_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    row = format_row(
        "a fault", f"ValueError: {tmp_path / 'a' / 'log.csv'} has\ta | b", "tests/x.py"
    )
    assert row == r"| a fault | ValueError: FOLDER/a/log.csv has a \| b | tests/x.py |"
    assert str(TESTS.parent) not in PAGE.read_text(encoding="utf-8")
