"""The page's tables are those of the Markdown report."""

from sdme.evaluate.figures import figures_of
from sdme.evaluate.page_tables import Table, tables_of_report
from sdme.evaluate.score import MatchingScore
from sdme.evaluate.summary import THRESHOLDS
from sdme.evaluate.table import markdown_table, to_markdown

REPORT = """\
# Evaluation

- command: x | y

## First `all`

Read me
**now**.

{first}

### Second: intervals

{second}

Said after it.

## Without a table

Said before the next.

## Third

{first}
"""


def test_tables_with_their_titles_and_words():
    first = markdown_table(["a", "b"], [["x|y", "1"], ["<script>", "2.5 (3)"]])
    second = markdown_table(["c"], [["0.5 [0.4, 0.6]"]])
    intervals, one, third = tables_of_report(REPORT.format(first=first, second=second))
    assert (intervals.title, intervals.note) == ("Second: intervals", "Said after it.")
    assert intervals.rows == [["0.5 [0.4, 0.6]"]]
    assert (one.title, one.note) == ("First all", "Read me now.")
    assert one.header == ["a", "b"]
    assert one.rows == [["x|y", "1"], ["<script>", "2.5 (3)"]]
    assert (third.title, third.note) == ("Third", "Said before the next.")


def test_a_table_of_several_sets_becomes_one_a_set():
    rows = [["all", "sift", "1"], ["near", "sift", "2"], ["all", "ours", "3"]]
    found = tables_of_report("# Costs\n\n" + markdown_table(["set", "method", "n"], rows))
    assert [table.title for table in found] == ["Costs: all", "Costs: near"]
    assert [table.rows for table in found] == [[["sift", "1"], ["ours", "3"]], [["sift", "2"]]]
    assert found[0].header == ["method", "n"]


def test_columns_of_numbers():
    table = Table("t", ["a", "b", "c", "d"], [["1 x", "1", "-", "inf"], ["x", ".5", "2.5 (3)", ""]])
    assert table.is_number == [False, False, True, True]
    assert Table("t", ["a"], []).is_number == [True]


def test_a_real_report_gives_all_its_tables(score, crash):
    rows = [score(float(i), pair=f"p{i}", index=i) for i in range(5)]
    rows += [score(2.0, pair=f"p{i}", index=i, method="ours") for i in range(4)]
    rows += [crash(pair="p4", index=4, method="ours")]
    text = to_markdown(figures_of(rows))
    tables = tables_of_report(text)
    assert "interval" in tables[0].title
    # each Markdown table has one line of dashes below its header; here, some become two
    assert len(tables) >= sum(set(line) <= set("|- ") and "-" in line for line in text.splitlines())
    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows)
    full = next(t for t in tables if f"PE<{THRESHOLDS[0]:g}" in t.header and "failed" in t.header)
    failed = {row[0]: row[full.header.index("failed")] for row in full.rows}
    assert failed == {"sift": "0", "ours": "1"}


def test_no_two_tables_have_one_title(score):
    quality = MatchingScore(120, 40, dict.fromkeys(range(1, 11), 0.5), 0.5, 0.75, 0.25)
    rows = [score(float(i), pair=f"p{i}", index=i, matching=quality) for i in range(5)]
    titles = [table.title for table in tables_of_report(to_markdown(figures_of(rows)))]
    assert len(titles) == len(set(titles))
    assert sum("atching" in title for title in titles) == 2


def test_warnings_of_a_report_are_on_the_page(score):
    rows = [score(1.0), score(1.0, index=1, measure="landmarks")]
    notes = [table.note for table in tables_of_report(to_markdown(figures_of(rows)))]
    assert sum("Two kinds of errors" in note for note in notes) == 1


def test_nothing_gives_no_tables():
    assert tables_of_report("") == []
