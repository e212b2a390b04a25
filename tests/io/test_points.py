"""Tables of points."""

import numpy as np
import pytest

from sdme import InputError
from sdme.io.points import read_points


def table(tmp_path, text):
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    return read_points(tmp_path / "p.csv")


def rewritten(tmp_path, text, points):
    table(tmp_path, text).with_points(np.asarray(points, float)).save(tmp_path / "q.csv")
    return (tmp_path / "q.csv").read_text()


def test_plain_rows(tmp_path):
    found = table(tmp_path, "1,2\n3.5,-4e1\n\n")
    assert found.header is None
    np.testing.assert_array_equal(found.points, [[1, 2], [3.5, -40]])


def test_header_names_the_columns_and_the_rest_is_kept(tmp_path):
    text = 'name;Y;X\n"a;b";2;1\n"say ""hi""";4;3\n'
    np.testing.assert_array_equal(table(tmp_path, text).points, [[1, 2], [3, 4]])
    assert rewritten(tmp_path, text, [[10.25, 20], [30, 40]]) == (
        'name;Y;X\n"a;b";20.0;10.25\n"say ""hi""";40.0;30.0\n'
    )


def test_tabs_and_byte_order_mark(tmp_path):
    np.testing.assert_array_equal(table(tmp_path, "\ufeffx\ty\n1\t2\n").points, [[1, 2]])


def test_header_alone_is_a_table_without_points(tmp_path):
    assert table(tmp_path, "x,y\n").points.shape == (0, 2)


def test_point_without_image_is_nan(tmp_path):
    assert rewritten(tmp_path, "1,2,left\n", [[np.nan, np.nan]]) == "nan,nan,left\n"


def test_precision_is_a_millionth_of_a_pixel(tmp_path):
    assert rewritten(tmp_path, "1,2\n", [[1 / 3, -1e-9]]) == "0.333333,0.0\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty table"),
        ("\n\n", "empty table"),
        ("u,v\n1,2\n", "neither a point nor a header"),
        ("x,y\n1\n", "line 2"),
        ("1,2\n3,abc\n", "line 2"),
        ("1,2\n\n3,nan\n", "line 3"),
        ("1\n", "neither"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        table(tmp_path, text)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(InputError, match="cannot read points"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not UTF-8"):
        read_points(tmp_path / "b.csv")
