from counted_store import counted_store

from alia_ray.store.run_folder import RunFolder


def test_requests_and_bytes_are_counted():
    with counted_store() as store:
        folder = RunFolder(store.uri("run"))
        folder.write_bytes(bytes(12_345), "a", "b")
        assert store.count() == {"PUT": 1}
        assert store.bytes == {"written": 12_345}
        with folder.fs.open_input_stream(folder.file("a", "b")) as stream:
            assert len(stream.read()) == 12_345
        assert store.bytes == {"written": 12_345, "read": 12_345}
