"""ALIA (arXiv 2305.16289) as distributed batch processing on Ray. From Python: docs/python.md."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alia_ray.loaded import LoadedRun, load, run

    __version__: str

__all__ = ["LoadedRun", "__version__", "load", "run"]


def __getattr__(name: str) -> Any:
    """What is heavy to import comes when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("alia-ray")
    if name in __all__:
        from alia_ray import loaded

        return getattr(loaded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
