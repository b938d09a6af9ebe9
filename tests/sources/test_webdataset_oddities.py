"""Tars as other people's tools and accidents make them."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import WebDataset
from alia_ray.sources import list_images, notes, read_images

Member = tuple[str, bytes] | tarfile.TarInfo


def shard(path: Path, *members: Member, end: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        size = tar.offset
    if not end:
        path.write_bytes(path.read_bytes()[:size])
    return path


def source(path: Path | str, **options: object) -> WebDataset:
    return WebDataset(kind="webdataset", path=str(path), **{"val_fraction": 0, "test_fraction": 0, **options})


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "1.jpg"
    return info


def sparse(name: str, size: int) -> bytes:
    """A member of GNU's old sparse form: no data at all, and a size that its header promises."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    block[386:410] = b"%011o\0%011o\0" % (0, 0)  # where the first piece lies, and its length
    block[483:495] = (0x80 << 88 | size).to_bytes(12, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_what_a_mac_puts_into_a_tar_is_no_sample_and_is_counted(tmp_path, picture, numbers_read):
    members = [
        ("./._1.jpg", b"Mac OS X"),
        ("./1.jpg", picture(1)),
        ("./1.cls", b"cat"),
        ("__MACOSX/1.jpg", b"x"),
        ("PaxHeader/1.jpg", b"30 mtime=1"),
        ("a/.thumbs/2.jpg", picture(2)),
        ("a/PaxHeaders.123/2.cls", b"x"),
        ("a/.DS_Store", b""),
    ]
    shard(tmp_path / "0.tar", *members)
    shard(tmp_path / "._0.tar", ("1.jpg", picture(9)))
    shard(tmp_path / ".staged" / "1.tar", ("1.jpg", picture(9)))
    listing = list_images(source(tmp_path))
    assert (listing["label"].to_pylist(), numbers_read(source(tmp_path), listing)) == (["cat"], [1])
    assert notes(listing) == ["passed over: 8 hidden"]


def test_pictures_are_taken_by_any_ending_that_is_known(tmp_path, picture, numbers_read):
    endings = ("JPG", "jpeg", "Png", "jfif", "avif", "bmp", "gif", "tiff", "pgm", "tif", "webp")
    members = [(f"{n}.{ending}", picture(n)) for n, ending in enumerate(endings)]
    shard(tmp_path / "0.TAR", *members)
    listing = list_images(source(tmp_path))
    assert numbers_read(source(tmp_path), listing) == list(range(len(endings)))


def test_other_members_are_counted_and_a_key_ends_at_the_first_dot(tmp_path, picture):
    members = [("1.jpg", picture(1)), ("1.seg.png", picture(2)), ("1.txt", b"a cat"), ("1.cls", b"cat")]
    shard(tmp_path / "0.tar", *members, ("22.05.png", picture(3)), ("22.06.png", picture(3)), ("noending", b""))
    listing = list_images(source(tmp_path))
    assert listing.num_rows == 1
    assert notes(listing) == ["passed over: 5 that are no picture, .cls or .json (.*.png 3, .txt 1, no ending 1)"]
    shard(tmp_path / "0.tar", ("22.05.png", picture(3)), ("22.06.png", picture(3)))
    with pytest.raises(ConfigError, match=r"no image was found .*passed over: 2 that are no picture"):
        list_images(source(tmp_path))


def test_members_of_a_sample_may_lie_anywhere_in_their_shard(tmp_path, picture, numbers_read):
    members = [("1.cls", b"1\n"), ("2.jpg", picture(2)), ("1.jpg", picture(1)), ("2.cls", b"\xff\xfe 2")]
    shard(tmp_path / "0.tar", *members)
    listing = list_images(source(tmp_path))
    assert listing["label"].to_pylist() == ["1", "�� 2"]
    assert numbers_read(source(tmp_path), listing) == [1, 2]


@pytest.mark.parametrize(
    ("description", "label"),
    [
        (b"{}", None),
        (b"", None),
        (b"[" * 200_000, None),
        (b'{"label": "' + b"x" * 2**20 + b'"}', None),
        (b'{"label": null}', None),
        (b'{"label": ["a", "b"]}', None),
        (b'{"label": {"name": "a"}}', None),
        (b'{"label": " "}', None),
        (b'["label"]', None),
        (b'{"label": 7}', "7"),
        (b'{"label": "\\ud800"}', "?"),
        (json.dumps({"label": "café "}).encode("utf-16"), "café"),
    ],
)
def test_a_json_of_any_content_gives_a_label_or_none(tmp_path, picture, description, label):
    shard(tmp_path / "0.tar", ("1.jpg", picture(1)), ("1.json", description))
    listing = list_images(source(tmp_path, label_key="label"))
    assert listing["label"].to_pylist() == [label]


def test_only_plain_members_are_read_and_no_more_than_there_is(tmp_path, picture, numbers_read):
    links = [
        special("2.jpg", tarfile.SYMTYPE),
        special("3.jpg", tarfile.LNKTYPE),
        special("4.jpg", tarfile.FIFOTYPE),
    ]
    path = shard(tmp_path / "0.tar", ("1.jpg", picture(1)), *links, ("4.cls", b"dog"))
    holes = sparse("5.json", 3 * 2**30) + sparse("6.jpg", 2**45)
    path.write_bytes(holes + path.read_bytes())
    listing = list_images(source(tmp_path))
    assert listing["label"].to_pylist() == [None, "dog"]
    assert numbers_read(source(tmp_path), listing) == [1, None]
    assert notes(listing) == ["passed over: 5 links, devices or sparse"]


def test_a_member_that_promises_more_than_its_shard_holds_is_refused(tmp_path, picture):
    huge = tarfile.TarInfo("2.jpg")
    huge.size = 2**45
    path = shard(tmp_path / "0.tar", ("1.jpg", picture(1)))
    path.write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    with pytest.raises(ConfigError, match=r"cannot read the shard 0\.tar"):
        list_images(source(tmp_path))


def test_a_name_of_terabytes_is_refused(tmp_path, picture):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2**45
    path = shard(tmp_path / "0.tar", ("1.jpg", picture(1)))
    path.write_bytes(name.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    with pytest.raises(ConfigError, match=r"cannot read the shard 0\.tar"):
        list_images(source(tmp_path))


def test_a_shard_that_was_cut_or_damaged_is_never_taken_for_a_short_one(tmp_path, picture):
    members = [(f"{number}.jpg", picture(number)) for number in range(5)]
    whole = shard(tmp_path / "0.tar", *members).read_bytes()
    header = whole.index(b"3.jpg")
    for content in (
        whole[: header + 700],
        whole[: header + 100],
        whole[:header] + b"?" * 512 + whole[header + 512 :],
    ):
        (tmp_path / "0.tar").write_bytes(content)
        with pytest.raises(ConfigError, match=r"shard 0\.tar"):
            list_images(source(tmp_path))
    shard(tmp_path / "0.tar", *members, end=False)
    listing = list_images(source(tmp_path))
    assert listing.num_rows == 5
    assert notes(listing) == ["the shard 0.tar has no mark at its end and may be cut short"]


def test_a_picture_beyond_the_end_of_its_shard_is_an_error_and_no_half_picture(tmp_path, picture):
    path = shard(tmp_path / "0.tar", ("1.jpg", picture(1)), ("2.jpg", picture(2)))
    listing = list_images(source(tmp_path))
    path.write_bytes(path.read_bytes()[: int(listing["origin"][1].as_py().split("#")[1]) + 10])
    first, second = read_images(source(tmp_path), listing)
    assert first == picture(1)
    assert "ends before the picture" in str(second)


def test_shards_without_samples_are_passed_by_and_empty_files_refused(tmp_path, picture):
    shard(tmp_path / "0.tar")
    shard(tmp_path / "1.tar", ("1.jpg", picture(1)))
    assert list_images(source(tmp_path)).num_rows == 1
    (tmp_path / "2.tar").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot read the shard 2\.tar"):
        list_images(source(tmp_path))


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz"])
def test_compressed_shards_are_one_sentence_or_counted_beside_others(tmp_path, picture, name):
    plain = shard(tmp_path / "plain.tar", ("1.jpg", picture(1)))
    (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    assert notes(list_images(source(tmp_path))) == [
        f"passed over: 1 that are no picture, .cls or .json ({Path(name).suffix} 1)"
    ]
    plain.unlink()
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(ConfigError, match=r"compressed; unpack"):
            list_images(source(path))


@pytest.mark.parametrize("key", ["split_key", "group_key"])
def test_a_key_that_was_named_must_be_in_some_sample(tmp_path, picture, key):
    described = json.dumps({"place": "sea", "part": "test"}).encode()
    shard(tmp_path / "0.tar", ("1.jpg", picture(1)), ("1.cls", b"cat"), ("1.json", described))
    with pytest.raises(ConfigError, match=rf"source\.{key}: no sample's \.json gives 'plce'"):
        list_images(source(tmp_path, **{key: "plce"}))
    assert list_images(source(tmp_path, split_key="part", group_key="place"))["group"].to_pylist() == ["sea"]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_takes_the_rest_of_its_shard_is_not_read(tmp_path, picture, kind):
    header = tarfile.TarInfo("1.jpg")
    header.type, header.size = kind, 2**26
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**26 + 4 * tarfile.BLOCKSIZE)
    with pytest.raises(ConfigError, match="a member's header has 67108864 bytes"):
        list_images(source(path))
