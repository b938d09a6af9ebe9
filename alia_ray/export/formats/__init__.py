"""How exported images are laid out: one file per format, which writes a part of a split from a stream of samples.

The last file of a part that is written is its *mark*: where it is, the part is whole. A format that is finished by
something more may delete them then, and says by itself whether it is still whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from alia_ray.export.formats import image_folder, parquet, webdataset
from alia_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Format:
    """A layout of files."""

    mark: Callable[[str, int], str]  # a split and the number of a part of it -> the path of its mark
    write_part: Callable[
        [Iterator[pa.Table], RunFolder, str], None
    ]  # tables of schema SAMPLES, where to, the mark
    finish: Callable[[RunFolder, Mapping[str, Sequence[str]]], None] | None = None  # with the marks of each split
    is_whole: Callable[[RunFolder, str, int], bool] | None = None  # whether a finished split still has its images


FORMATS = {
    "imagefolder": Format(image_folder.mark, image_folder.write_part, image_folder.finish, image_folder.is_whole),
    "webdataset": Format(webdataset.mark, webdataset.write_part),
    "parquet": Format(parquet.mark, parquet.write_part),
}
