"""The section `source`: a pydantic model for each dataset layout."""

from typing import Annotated, Literal

from pydantic import Field

from alia_ray.config.class_names import ClassNames
from alia_ray.config.identity import LATER, NEVER
from alia_ray.config.places import Name, Place, Revision
from alia_ray.config.sections import Count, Section

Protocol = Literal["paper", "strict"]
"""`paper` takes a dataset as the authors did; `strict` never lets train, val and test overlap."""


class _Named(Section):
    """Every source: its labels, and what they are called."""

    class_names: Annotated[ClassNames, NEVER]  # changes no image; the names of domains and edits cover it
    limit: Annotated[Count | None, LATER] = Field(
        None, description="for a trial: so many images in all; each class of each split keeps its share"
    )
    limit_per_class: Annotated[Count | None, LATER] = Field(
        None, description="for a trial: so many images of each class, over all splits in their shares"
    )

    @property
    def trial(self) -> str | None:
        """What is to be said wherever results show that come of a part of the images; None without a limit."""
        limits = {"source.limit": self.limit, "source.limit_per_class": self.limit_per_class}
        given = [f"{key}={number}" for key, number in limits.items() if number is not None]
        if not given:
            return None
        return f"a trial on a part of the images ({', '.join(given)}): its numbers are not those of the whole"

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # pydantic's own takes no mapping


class _Splittable(_Named):
    """A source that may lack splits."""

    val_fraction: float = Field(0.1, ge=0, lt=1, description="held out of train where the source has no val")
    test_fraction: float = Field(0.2, ge=0, lt=1, description="held out where it has neither val nor test")


class _Columns(_Splittable):
    """A source whose labels, splits and groups are columns."""

    path: Place
    label_column: str = "label"
    split_column: str | None = "split"
    group_column: str | None = None

    @property
    def names_splits(self) -> bool:
        """Whether `split_column` was chosen, so that it must be there; that of the default may be missing."""
        return self.split_column not in (None, "split")


class ImageFolder(_Splittable):
    """`path/SPLIT/CLASS/image.jpg`, or `path/CLASS/image.jpg` with `val_fraction` and `test_fraction`."""

    kind: Literal["imagefolder"]
    path: Place


class ParquetTable(_Columns):
    """A Parquet dataset with a column of encoded images and one of labels."""

    kind: Literal["parquet"]
    image_column: str = "image"


class CsvTable(_Columns):
    """A CSV of metadata whose `path_column` is relative to `root`."""

    kind: Literal["csv"]
    root: Place
    path_column: str = "path"


class MiniatureWorld(_Named):
    """The painted birds: two classes on biased backgrounds, or four on places that test does not share.

    See docs/miniature.md.
    """

    kind: Literal["miniature"]
    task: Literal["biased", "places"] = "biased"
    train: int = Field(400, ge=8)
    val: int = Field(200, ge=8)
    test: int = Field(400, ge=8)
    extra: int = Field(0, ge=0, description="real images for the arm real_data")
    bias: float = Field(
        1.0, ge=0.5, le=1, description="biased: share of train and val on a class's own backgrounds"
    )
    seed: int = 0


class Cub(_Named):
    """CUB-200-2011 as its archive unpacks: `path` is the folder CUB_200_2011."""

    kind: Literal["cub"]
    path: Place
    protocol: Protocol = Field("strict", description="paper: the official test images are both val and test")
    val_fraction: float = Field(0.1, ge=0, lt=1, description="strict: held out of train")


class IWildCam(_Named):
    """A part of WILDS' iWildCam in seven classes: `path` is its image folder, `lists` that of four CSV files."""

    kind: Literal["iwildcam"]
    path: Place
    lists: Place = Field(description="holds train_, train_extra_, val_ and test_subset.csv")
    protocol: Protocol = Field("strict", description="paper: the lists may overlap")


class Waterbirds(_Named):
    """waterbird_complete95_forest2water2, cut to 100 % bias as in the paper."""

    kind: Literal["waterbirds"]
    path: Place


class HuggingFace(_Splittable):
    """A dataset of the library `datasets`; its splits are the dataset's own."""

    kind: Literal["huggingface"]
    name: Name = Field(description="a hub id, a folder of save_to_disk, or a folder of data files")
    config: str | None = Field(None, description="which configuration of the dataset")
    revision: Revision = None
    image_column: str = "image"
    label_column: str = "label"
    group_column: str | None = None


class WebDataset(_Splittable):
    """Tar shards whose samples are a picture and a `.cls` or `.json` of the same name."""

    kind: Literal["webdataset"]
    path: Place = Field(description="a folder of *.tar, or a pattern with *; braces are not expanded")
    label_key: str | None = Field(None, description="the label's key in the .json; none reads the .cls")
    split_key: str = Field("split", description="a key of the .json; else folders or prefixes name splits")
    group_key: str = "group"


Source = Annotated[
    ImageFolder
    | ParquetTable
    | CsvTable
    | MiniatureWorld
    | Cub
    | IWildCam
    | Waterbirds
    | HuggingFace
    | WebDataset,
    Field(discriminator="kind"),
]
