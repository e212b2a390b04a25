"""Packs of pairs and photos, and what is said about broken ones."""

import io
import tarfile

import cv2
import numpy as np
import pytest

from sdme.data.packs import list_packs, pack_pairs, read_pack
from sdme.data.pairs import ImageFile
from sdme.errors import InputError


def picture(seed, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image):
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def test_pairs_and_photos_in_the_order_of_their_names(tmp_path, write_pack):
    images = {name: picture(i) for i, name in enumerate(["x.a", "x.b", "p", "y.a", "y.b"])}
    members = {f"{name}.png": image for name, image in images.items()}
    items = list(read_pack(write_pack(tmp_path / "pack.tar", members)))
    assert [item.id for item in items] == ["p", "x", "y"]
    photo, x, y = items
    assert photo.first is photo.second and np.array_equal(photo.first, images["p"])
    for item, name in ((x, "x"), (y, "y")):
        assert np.array_equal(item.first, images[f"{name}.a"])
        assert np.array_equal(item.second, images[f"{name}.b"])


def test_images_come_as_rgb_bytes(tmp_path, write_pack):
    red = np.zeros((8, 9, 3), np.uint8)
    red[..., 0] = 200
    grey = np.full((8, 9), 7, np.uint8)
    deep = np.full((8, 9), 300 * 256 // 2, np.uint16)
    members = {"a.png": red, "b.png": encoded(grey), "c.png": encoded(deep)}
    first, second, third = read_pack(write_pack(tmp_path / "pack.tar", members))
    assert first.first[0, 0].tolist() == [200, 0, 0]
    assert second.first.shape == (8, 9, 3) and (second.first == 7).all()
    assert third.first.dtype == np.uint8 and (third.first == 150).all()


def test_folders_and_dots_in_names(tmp_path, write_pack):
    members = {
        "v1.2/site.a.png": picture(0),
        "v1.2/site.b.png": picture(1),
        "v1.2/other.photo.jpg": picture(2),
    }
    items = list(read_pack(write_pack(tmp_path / "pack.tar", members)))
    assert [item.id for item in items] == ["v1.2/other.photo", "v1.2/site"]
    assert np.array_equal(items[1].second, picture(1))


def test_an_identity_may_itself_contain_the_mark_of_a_side(tmp_path, write_pack):
    members = {
        "site.a.7.a.png": picture(0),
        "site.a.7.b.png": picture(1),
    }
    (item,) = read_pack(write_pack(tmp_path / "pack.tar", members))
    assert item.id == "site.a.7" and np.array_equal(item.second, picture(1))


@pytest.mark.parametrize(
    "members, message",
    [
        ({"x.a.png": picture(0)}, r"x\.a\.png has no partner x\.b\.png"),
        ({"x.b.png": picture(0)}, r"x\.b\.png has no partner x\.a\.png"),
        (
            {"x.a.png": picture(0), "x.b.png": picture(1, 30, 20)},
            "the pair x has images of two sizes",
        ),
        ({"x.png": b"no image"}, "an image of x cannot be decoded"),
        ({"x.png": b""}, "an image of x cannot be decoded"),
        ({"x.a.png": picture(0), "x.b.png": b"no"}, "an image of x cannot be decoded"),
        ({"x.png": encoded(picture(0))[:200]}, "an image of x cannot be decoded"),
        ({"README": b"text"}, "an image of README cannot be decoded"),
        ({}, "is empty"),
    ],
)
def test_broken_members_are_refused(tmp_path, write_pack, members, message):
    path = write_pack(tmp_path / "pack.tar", members)
    with pytest.raises(InputError, match=message) as error:
        list(read_pack(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_files_that_are_no_tar_are_refused(tmp_path, content):
    path = tmp_path / "pack.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot read pack") as error:
        list(read_pack(path))
    assert "\n" not in str(error.value)


def test_truncated_pack_is_refused(tmp_path, write_pack):
    path = write_pack(tmp_path / "pack.tar", {"x.png": picture(0, 90, 90)})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"pack\.tar"):
        list(read_pack(path))


def test_packs_of_a_folder(tmp_path):
    for name in ("b.tar", "a.tar", "note.txt"):
        (tmp_path / name).touch()
    assert list_packs(tmp_path) == [tmp_path / "a.tar", tmp_path / "b.tar"]
    for folder in (tmp_path / "none", tmp_path / "note.txt"):
        with pytest.raises(InputError, match="holds no packs"):
            list_packs(folder)


def test_pairs_are_listed_without_decoding(tmp_path, write_pack):
    images = {f"{name}.png": picture(i) for i, name in enumerate(["v.1/x.a", "v.1/x.b", "p"])}
    path = write_pack(tmp_path / "tno.tar", {**images, "LICENSE": b"free", "list.csv": b"x,y"})
    found = pack_pairs(path)
    assert not found.problems and found.truth_kinds == {"aligned"}
    photo, pair = found.pairs
    assert (photo.dataset, photo.id, photo.group, photo.is_photo) == ("tno", "p", "photo", True)
    assert (pair.dataset, pair.id, pair.group, pair.is_photo) == ("tno", "v.1/x", "thermal", False)
    assert pair.fixed == ImageFile(path, "v.1/x.a.png")
    assert np.array_equal(pair.fixed.read(), images["v.1/x.a.png"])
    assert np.array_equal(pair.moving.read(), images["v.1/x.b.png"])


def test_listing_and_reading_agree(tmp_path, write_pack):
    names = ["z.a", "z.b", "p", "a.b.7.a", "a.b.7.b", "q.photo"]
    members = {f"{name}.webp": picture(i, 40, 50) for i, name in enumerate(names)}
    path = write_pack(tmp_path / "pack.tar", members)
    pairs = {pair.id: pair for pair in pack_pairs(path).pairs}
    items = list(read_pack(path))
    assert [*pairs] == sorted(item.id for item in items)
    for item in items:
        assert np.array_equal(pairs[item.id].fixed.read(), item.first)
        assert np.array_equal(pairs[item.id].moving.read(), item.second)


def test_broken_members_are_listed_and_the_others_kept(tmp_path, write_pack):
    members = {
        "good.a.png": picture(0),
        "good.b.png": picture(1),
        "left.a.png": picture(0),
        "right.b.png": picture(0),
        "size.a.png": picture(0),
        "size.b.png": picture(0, 30, 20),
        "none.png": b"",
        "text.a.png": picture(0),
        "text.b.png": b"no image",
        "film.gif": b"GIF89a",
        "twice.jpg": picture(0),
        "twice.png": picture(0),
        "._good.a.png": b"left by a file manager",
    }
    path = write_pack(tmp_path / "pack.tar", members)
    found = pack_pairs(path)
    assert [pair.id for pair in found.pairs] == ["good", "twice"]
    told = {problem.where.removeprefix(f"{path}:"): problem.why for problem in found.problems}
    expected = {
        "film.gif": "not an image",
        "left.a.png": "no partner left.b.png",
        "none.png": "empty file",
        "right.b.png": "no partner right.a.png",
        "size.a.png": "two sizes",
        "text.a.png": "text.b.png is not an image",
        "twice.png": "two items twice",
    }
    assert told.keys() == expected.keys() and len(found.problems) == len(expected)
    assert all(words in told[name] for name, words in expected.items())


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_files_that_are_no_tar_cannot_be_listed(tmp_path, content):
    path = tmp_path / "pack.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot read pack"):
        pack_pairs(path)


def test_an_empty_pack_cannot_be_listed(tmp_path, write_pack):
    with pytest.raises(InputError, match="is empty"):
        pack_pairs(write_pack(tmp_path / "pack.tar", {}))


@pytest.mark.parametrize("damage", ["header", "cut in a header", "cut at a header"])
def test_a_pack_that_ends_in_the_middle_is_an_error_and_not_a_shorter_pack(tmp_path, damage):
    path = tmp_path / "p.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(6):
            data = cv2.imencode(".png", np.full((40, 40), i, np.uint8))[1].tobytes()
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with tarfile.open(path) as archive:
        place = archive.getmembers()[3].offset
    content = path.read_bytes()
    path.write_bytes(
        {
            "header": content[:place] + b"x" * 512 + content[place + 512 :],
            "cut in a header": content[: place + 100],
            "cut at a header": content[:place],
        }[damage]
    )
    with pytest.raises(InputError, match=r"damaged or cut short after member 2\.png"):
        pack_pairs(path)
    with pytest.raises(InputError, match=r"damaged or cut short after member 2\.png"):
        list(read_pack(path))


def test_a_hard_link_is_the_file_that_it_names(tmp_path):
    path = tmp_path / "p.tar"
    data = encoded(picture(0, 40, 40))
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("one.png")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("two.png")
        link.type, link.linkname = tarfile.LNKTYPE, "one.png"
        archive.addfile(link)
    found = pack_pairs(path)
    assert [pair.id for pair in found.pairs] == ["one", "two"]
    assert np.array_equal(found.pairs[1].fixed.read(), picture(0, 40, 40)[..., ::-1])
    assert [item.id for item in read_pack(path)] == ["one", "two"]
