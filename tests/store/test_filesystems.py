"""Which filesystem a URI is on, and where there."""

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from alia_ray.store.filesystems import filesystem, is_object_store

HERE = "?scheme=http&endpoint_override=localhost:9"


@pytest.mark.parametrize("key", ["", "/", "/a", "/a/b/", "/a//b", "/a%20b/c", "/a%2Fb", "/a=1/b+c,d@e-f_g.h~"])
@pytest.mark.parametrize(("scheme", "query"), [("s3", f"{HERE}&region=us-east-1"), ("gs", HERE)])
def test_a_path_in_a_bucket_is_what_pyarrow_makes_of_its_uri(scheme, key, query):
    uri = f"{scheme}://bucket{key}{query}"
    fs, path = filesystem(uri)
    assert path == pafs.FileSystem.from_uri(uri)[1]
    assert is_object_store(fs)


def test_a_uri_that_pyarrow_does_not_take_is_not_taken():
    for uri in ("s3://bucket/a b", "s3:///x"):
        with pytest.raises((OSError, pa.ArrowInvalid)):
            filesystem(uri + HERE + "&region=us-east-1")


def test_a_folder_of_this_machine_is_no_object_store(tmp_path):
    for place in (str(tmp_path), f"file://{tmp_path}"):
        assert not is_object_store(filesystem(place)[0])
