"""Curation: photographs, or pairs made elsewhere, become a folder of pairs with a manifest.

Three generators yield what becomes of each candidate, `from_photos`, `read_listed` and `from_views`; `write` takes any
of them. Nothing is dropped in silence: a candidate without a pair has a reason.
"""

from anyrefill.curate.importing import Listed, list_folders, list_table, read_listed
from anyrefill.curate.making import Annotators, from_photos
from anyrefill.curate.manifest import Report, check_free, write
from anyrefill.curate.megadepth import read_scenes
from anyrefill.curate.outcome import Outcome
from anyrefill.curate.photos import Layout, Source, find_photos
from anyrefill.curate.views import OVERLAP, Views, from_views, list_views, read_shapes

__all__ = [
    "OVERLAP",
    "Annotators",
    "Layout",
    "Listed",
    "Outcome",
    "Report",
    "Source",
    "Views",
    "check_free",
    "find_photos",
    "from_photos",
    "from_views",
    "list_folders",
    "list_table",
    "list_views",
    "read_listed",
    "read_scenes",
    "read_shapes",
    "write",
]
