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

    path: Place = Field(description="the table: a file, or of Parquet a folder of them")
    label_column: str = Field("label", description="the column of labels")
    split_column: str | None = Field(
        "split", description="the column of splits; none: they are drawn by val_fraction and test_fraction"
    )
    group_column: str | None = Field(
        None, description="the column of groups, such as places, whose accuracies are reported"
    )

    @property
    def names_splits(self) -> bool:
        """Whether `split_column` was chosen, so that it must be there; that of the default may be missing."""
        return self.split_column not in (None, "split")


class ImageFolder(_Splittable):
    """`path/SPLIT/CLASS/image.jpg`, or `path/CLASS/image.jpg` with `val_fraction` and `test_fraction`."""

    kind: Literal["imagefolder"] = Field(description="a folder of folders of pictures, one for each class")
    path: Place = Field(description="the folder in which classes or splits lie")


class ParquetTable(_Columns):
    """A Parquet dataset with a column of encoded images and one of labels."""

    kind: Literal["parquet"] = Field(description="a Parquet dataset of encoded pictures")
    image_column: str = Field("image", description="the column of encoded images")


class CsvTable(_Columns):
    """A CSV of metadata whose `path_column` is relative to `root`."""

    kind: Literal["csv"] = Field(description="a table of paths and labels beside a folder of pictures")
    root: Place = Field(description="the folder that the paths in the table start from")
    path_column: str = Field("path", description="the column of the pictures' paths")


class MiniatureWorld(_Named):
    """The painted birds: two classes on biased backgrounds, or four on places that test does not share.

    See docs/miniature.md.
    """

    kind: Literal["miniature"] = Field(description="the painted birds that ship with the package")
    task: Literal["biased", "places"] = Field(
        "biased", description="biased: two classes on backgrounds of their own; places: four, tested on new places"
    )
    train: int = Field(400, ge=8, description="how many images to train on")
    val: int = Field(200, ge=8, description="how many to validate on")
    test: int = Field(400, ge=8, description="how many to test on")
    extra: int = Field(0, ge=0, description="real images for the arm real_data")
    bias: float = Field(
        1.0, ge=0.5, le=1, description="biased: share of train and val on a class's own backgrounds"
    )
    seed: int = Field(0, description="of the painting")


class Cub(_Named):
    """CUB-200-2011 as its archive unpacks: `path` is the folder CUB_200_2011."""

    kind: Literal["cub"] = Field(description="CUB-200-2011")
    path: Place = Field(description="the folder CUB_200_2011")
    protocol: Protocol = Field("strict", description="paper: the official test images are both val and test")
    val_fraction: float = Field(0.1, ge=0, lt=1, description="strict: held out of train")


class IWildCam(_Named):
    """A part of WILDS' iWildCam in seven classes: `path` is its image folder, `lists` that of four CSV files."""

    kind: Literal["iwildcam"] = Field(description="the paper's part of WILDS' iWildCam")
    path: Place = Field(description="the folder of images")
    lists: Place = Field(description="holds train_, train_extra_, val_ and test_subset.csv")
    protocol: Protocol = Field("strict", description="paper: the lists may overlap")


class Waterbirds(_Named):
    """waterbird_complete95_forest2water2, cut to 100 % bias as in the paper."""

    kind: Literal["waterbirds"] = Field(description="the paper's cut of Waterbirds")
    path: Place = Field(description="the folder that holds metadata.csv")


class HuggingFace(_Splittable):
    """A dataset of the library `datasets`; its splits are the dataset's own."""

    kind: Literal["huggingface"] = Field(description="a dataset of Hugging Face's library datasets")
    name: Name = Field(description="a hub id, a folder of save_to_disk, or a folder of data files")
    config: str | None = Field(None, description="which configuration of the dataset")
    revision: Revision = Field(None, description="branch, tag or commit of a hub id; none: that of main")
    image_column: str = Field("image", description="the column of encoded images")
    label_column: str = Field("label", description="the column of labels")
    group_column: str | None = Field(
        None, description="the column of groups, such as places, whose accuracies are reported"
    )


class WebDataset(_Splittable):
    """Tar shards whose samples are a picture and a `.cls` or `.json` of the same name."""

    kind: Literal["webdataset"] = Field(description="tar shards of WebDataset")
    path: Place = Field(description="a folder of *.tar, or a pattern with *; braces are not expanded")
    label_key: str | None = Field(None, description="the label's key in the .json; none reads the .cls")
    split_key: str = Field("split", description="a key of the .json; else folders or prefixes name splits")
    group_key: str = Field("group", description="a key of the .json: groups, such as places")


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
