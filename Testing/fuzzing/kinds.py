"""All kinds of inputs, those with the lightest readers first: what is loaded for one stays loaded for the next."""

from __future__ import annotations

from fuzzing import archives, dicom, manifests, models, requests, results, volumes
from fuzzing.harness import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(volumes.NIFTI, volumes.NRRD, volumes.MHA, manifests.MANIFEST, archives.BUNDLE_ZIP),
        *(models.CALIBRATOR, models.SKETCH, dicom.DICOM, archives.DICOM_ZIP, results.RESULT_KIND),
        *(models.BUNDLE, models.PLANS, requests.WORKER),
    )
}
