"""Tables as in the paper: who is best, who is worst, and what is shown with how many digits."""

from __future__ import annotations

import pytest

from twintrack.studies.table_format import SHOWN, TableRow, arrow, is_worse, latex_table, markdown_table


def mean(value: float | None, low: float = 0.0, high: float = 1.0):
    return None if value is None else {"bootstrap_mean": value, "low": low, "high": high}


def rows(*values: float | None, key: str = "tdsc", **options) -> list[TableRow]:
    return [TableRow(f"m{n}", {key: mean(value)}, **options) for n, value in enumerate(values)]


def column(lines: list[str], number: int = 1) -> list[str]:
    return [line.split("|")[number + 1].strip() for line in lines[2:]]


def test_best_is_bold_and_worst_italic_by_the_metric_s_own_direction():
    assert column(markdown_table(rows(0.5, 0.7, 0.6), intervals=False)) == ["*0.500*", "**0.700**", "0.600"]
    found = markdown_table(rows(0.03, 0.01, 0.02, key="ece"), intervals=False)
    assert column(found, 2) == ["*0.0300*", "**0.0100**", "0.0200"]


def test_displayed_values_decide_so_that_equal_ones_share_their_place():
    found = column(markdown_table(rows(0.70001, 0.69999, 0.5), intervals=False))
    assert found == ["**0.700**", "**0.700**", "*0.500*"]
    assert column(markdown_table(rows(0.70001, 0.69999), intervals=False)) == ["0.700", "0.700"]


def test_a_single_method_and_unknown_values_are_not_ranked():
    assert column(markdown_table(rows(0.7), intervals=False)) == ["0.700"]
    assert column(markdown_table(rows(None, 0.7), intervals=False)) == ["–", "0.700"]
    unranked = [*rows(0.5, 0.7), TableRow("difference", {"tdsc": mean(-0.2)}, ranked=False)]
    assert column(markdown_table(unranked, intervals=False)) == ["*0.500*", "**0.700**", "-0.200"]


@pytest.mark.parametrize(
    ("key", "value", "short", "full"),
    [("crps", 6032.2, "6032", "6032.2"), ("vi_smv", 34.812, "34.8", "34.812"), ("vi_aorta", 6.338, "6.34", "6.338")],
)
def test_digits_are_those_of_the_paper_s_two_tables(key, value, short, full):
    number = list(SHOWN).index(key) + 1
    assert column(markdown_table(rows(value, key=key), intervals=False), number) == [short]
    (cell,) = column(markdown_table(rows(value, key=key), intervals=True), number)
    assert cell.split(" ", 1)[0] == full


def test_a_mark_stands_behind_the_value_and_before_the_interval():
    one = TableRow("m", {"tdsc": mean(0.3, 0.258, 0.341)}, {"tdsc": "†"})
    assert column(markdown_table([one], intervals=True)) == ["0.300† [0.258, 0.341]"]
    assert r"0.300\textsuperscript{\dag} [0.258, 0.341]" in "\n".join(latex_table([one], intervals=True))


def test_latex_highlights_and_escapes():
    table = [TableRow("a_b & 50 %", {"tdsc": mean(0.3)}), TableRow("c", {"tdsc": mean(0.4)})]
    text = "\n".join(latex_table(table, intervals=False))
    assert r"a\_b \& 50 \% & \textit{0.300} & --" in text
    assert r"c & \textbf{0.400} & --" in text
    assert text.count(r"\\") == 3
    assert r"TDSC $\uparrow$ & ECE $\downarrow$" in text


def test_directions():
    assert (arrow("tdsc"), arrow("ece"), arrow("raters_ml")) == ("↑", "↓", "")
    assert is_worse("ece", 0.1)
    assert is_worse("tdsc", -0.1)
    assert not is_worse("tdsc", 0.1)
