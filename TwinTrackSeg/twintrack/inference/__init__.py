"""The two-stage network part of the engine: where the organ is, and how much each voxel looks like tumour."""

from twintrack.inference.devices import (
    DEVICES,
    Processor,
    describe_processor,
    find_processors,
    may_have_gpu,
    select_device,
)
from twintrack.inference.ensemble import SKIP_BELOW, score_ensemble
from twintrack.inference.ensemble_result import EnsembleResult, MemberMap
from twintrack.inference.loaded_model import import_packages
from twintrack.inference.localize import localize
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import check_weights
from twintrack.inference.rater_maps import RaterMaps
from twintrack.inference.roi import Roi, map_box, roi_box, roi_full
from twintrack.inference.sample_set import SampleSet

__all__ = [
    "DEVICES",
    "SKIP_BELOW",
    "EnsembleResult",
    "MemberMap",
    "NetworkStore",
    "Processor",
    "RaterMaps",
    "Roi",
    "SampleSet",
    "check_weights",
    "describe_processor",
    "find_processors",
    "import_packages",
    "localize",
    "map_box",
    "may_have_gpu",
    "roi_box",
    "roi_full",
    "score_ensemble",
    "select_device",
]
