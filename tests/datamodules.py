"""Build a data module from flat settings."""

from pathlib import Path

from echo_e3net.clinic.user_videos import OwnVideos
from echo_e3net.data.settings import CacheSettings, ClipSettings, LoaderSettings
from echo_e3net.training.datamodule import EchoDataModule

CLIP, LOADER = (
    ("frames", "period", "size", "training", "evaluation", "augment"),
    ("batch_size", "workers", "start_method"),
)


def data_module(root=None, cache=None, fill=True, videos=None, **settings):
    """Return a data module; settings of the clip and the loader may be given by their own names."""
    clip = {name: settings.pop(name) for name in CLIP if name in settings}
    loader = {name: settings.pop(name) for name in LOADER if name in settings}
    data = EchoDataModule(
        root, clip=ClipSettings(**clip), loader=LoaderSettings(**loader), cache=CacheSettings(cache, fill), **settings
    )
    if videos is not None:
        data.videos = OwnVideos([videos] if isinstance(videos, Path) else videos)
    return data
