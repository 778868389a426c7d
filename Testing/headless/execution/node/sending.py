"""Ways to send to a node, and what stands in for the service: it writes real objects of a map it does not compute."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom

from archive_server import Archive
from twintrack.dicom import (
    Algorithm,
    DimseTarget,
    read_series,
    segments_from_labels,
    write_parametric_map,
    write_segmentation,
    write_structured_report,
)
from twintrack.execution.node.run import Offer
from twintrack.execution.node.send import Archive as Target
from twintrack.settings import SegmentSettings

PATIENT, NUMBER = "Planted^Patient", "PLANTED-4711"
WAIT_S = 300.0


class StandIn:
    """Writes the three objects of a map that it does not compute."""

    def __init__(self) -> None:
        self.sets: list[int] = []
        self.seen: list[str] = []
        self.error: BaseException | None = None
        self.version = "1.0"

    def offer(self) -> Offer:
        return Offer(self.version, "ab" * 32)

    def segment(self, source: Path, out: Path, settings: SegmentSettings, offer: Offer) -> None:
        self.seen += [str(path) for path in source.parents[1].rglob("*")]
        self.sets.append(len(list(source.iterdir())))
        if self.error is not None:
            raise self.error
        series = read_series(source)
        array = np.zeros(series.volume.array.shape, dtype=np.float32)
        array[1:4, 3:9, 4:12] = np.linspace(0.1, 1, 8, dtype=np.float32)
        probability = series.volume.with_array(array)
        masks = segments_from_labels(probability.with_array((array >= 0.5).astype(np.uint8)), {"tumor": 1})
        algorithm = Algorithm("stand-in", offer.version, offer.bundle_sha256)
        result = {"threshold": 0.5, "volume_ml": {"at_threshold": 1.0, "expected": 1.5}, "lesions": []}
        seg = write_segmentation(masks, series, out / "segmentation.dcm", algorithm=algorithm, threshold=0.5)
        write_parametric_map(probability, series, out / "probability.dcm", algorithm=algorithm)
        write_structured_report(result, None, series, seg, out / "report.dcm", algorithm=algorithm)

    def stop(self) -> None:
        return


def target_of(archive: Archive) -> Target:
    return Target(DimseTarget.parse(archive.address, title="ORTHANC", own_title="NODE"))


def until(what: Callable[[], object], seconds: float = WAIT_S) -> None:
    """Wait until `what` holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.05)


def send(
    files: list[Path],
    port: int,
    *,
    calling: str = "PACS",
    called: str = "NODE",
    stop_after: int | None = None,
    at_end: Callable[[], object] = lambda: None,
    **options: object,
) -> list[int]:
    """Send files in one association, which is aborted after `stop_after` of them; return the statuses.

    `at_end` is called when all are sent and the association is not yet released.
    """
    from pynetdicom import AE

    entity = AE(ae_title=calling)
    headers = [pydicom.dcmread(path) for path in files]
    for kind in {header.SOPClassUID for header in headers}:
        entity.add_requested_context(kind, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port, ae_title=called, **options)
    if not association.is_established:
        return []
    statuses = []
    for number, dataset in enumerate(headers):
        if number == stop_after:
            association.abort()
            return statuses
        statuses.append(int(association.send_c_store(dataset).Status))
    at_end()
    association.release()
    return statuses
