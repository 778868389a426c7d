"""Write the JSON Schemas of the product's files into ``docs/schemas`` anew.

That of calibrators is made of the models that read them. Bundles and results are also read by Slicer's side, before any
package is installed, and so with the standard library (`twintrack.bundle.schema`, `twintrack.results.schema`): their
models stand here, and tests hold that both accept and refuse the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel

from twintrack.bundle import rater_entries as raters
from twintrack.bundle import schema as bundle
from twintrack.calibration.calibrator_model import CalibratorModel
from twintrack.imaging.ct_features import FEATURES
from twintrack.invasion.naming.name_vessels import NAMING_SCHEMA
from twintrack.results import schema as results
from twintrack.results.which_ct import NAME_LIMIT
from twintrack.settings import CONTACT_MM_RANGE
from twintrack.system.case_label import LABEL_LIMIT
from twintrack.system.json_model import PRINTABLE, JsonModel

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"

DIALECT = "https://json-schema.org/draft/2020-12/schema"

PUBLISHED = "^[^\\u0000-\\u001f\\u007f-\\u00a0\\u00ad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]*$"
"""Stands for `PRINTABLE` in published schemas: not all programs know classes of letters in patterns."""

Text = Annotated[str, Field(pattern=PRINTABLE)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0, le=10**12)]
RaterId = Annotated[str, Field(pattern=f"^{raters.RATER_ID.pattern}$")]

Name = Annotated[str, Field(min_length=1, max_length=bundle.MAX_NAME, pattern=PRINTABLE)]
Title = Annotated[Name, Field(json_schema_extra={"allOf": [{"pattern": "\\S"}]})]
Names = Annotated[list[Name], Field(min_length=1, max_length=bundle.MAX_NAMES, json_schema_extra={"uniqueItems": True})]
Words = Annotated[str, Field(max_length=bundle.MAX_TEXT)]
Fold = Annotated[str, Field(pattern=f"^({bundle.FOLD.pattern})$")]
Digests = Annotated[
    dict[Annotated[str, Field(max_length=bundle.MAX_NAME, pattern=f"^{bundle.FILE.pattern}$")], Sha256],
    Field(max_length=bundle.MAX_FILES, json_schema_extra={"properties": {"bundle.json": False}}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(gt=-1e12, lt=1e12)]
Triple = Annotated[list[Annotated[float, Field(gt=0, lt=1e12)]], Field(min_length=3, max_length=3)]


class Intensities(JsonModel):
    """HU of the training voxels inside labels."""

    mean: Finite
    std: Finite
    percentile_00_5: Finite
    percentile_99_5: Finite


class Spread(JsonModel):
    """Smallest, median and largest value of each axis (z, y, x) over the training images."""

    smallest: Triple
    median: Triple
    largest: Triple


class Fingerprint(JsonModel):
    """What the networks of one stage were trained on."""

    intensities_hu: Intensities
    cases: Annotated[int, Field(ge=1, lt=10**12)] | None = None
    spacing_zyx_mm: Spread | None = None
    size_zyx: Spread | None = None


class Inputs(JsonModel):
    """Lowest and highest value of each feature over the CTs that the bundle was made with."""

    cases: Annotated[int, Field(ge=1, lt=10**12)]
    ranges: dict[Literal[tuple(FEATURES)], Annotated[list[Finite], Field(min_length=2, max_length=2)]]  # type: ignore[misc]


class Configurations(JsonModel, extra="forbid"):
    """nnU-Net's configuration of each stage."""

    coarse: Name
    fine: Name


class Networks(JsonModel):
    """The networks of one stage."""

    folds: Annotated[
        list[Fold], Field(min_length=1, max_length=bundle.MAX_MEMBERS, json_schema_extra={"uniqueItems": True})
    ]
    trainer: Name | Literal[""] | None = None
    checkpoint: Name | Literal[""] | None = None


class RaterNetworks(JsonModel):
    """A rater, and the networks of the fine ensemble that learnt from that rater alone."""

    id: RaterId
    members: Annotated[
        list[Fold], Field(min_length=1, max_length=raters.MAX_RATER_MEMBERS, json_schema_extra={"uniqueItems": True})
    ]
    label: None = None


class RaterLabel(JsonModel):
    """A rater, and the tumour label that speaks for that rater."""

    id: RaterId
    label: Name
    members: None = None


class RaterPersona(JsonModel):
    """A rater, and the place of that rater in a network of slices."""

    id: RaterId
    persona: Annotated[int, Field(ge=0, lt=raters.MAX_RATER_MEMBERS)]
    members: None = None
    label: None = None


class SliceNetworks(Networks):
    """One network of slices, which draws samples."""

    kind: Literal[bundle.SLICES]  # type: ignore[valid-type]


class SplitCases(JsonModel, extra="forbid"):
    """Numbers of cases."""

    train: Whole = 0
    calibration: Whole = 0
    test: Whole = 0


class Training(JsonModel):
    """How the networks were trained; "metrics" are held-out ones."""

    strategy: Name
    raters: Annotated[
        list[RaterId], Field(min_length=1, max_length=raters.MAX_ENTRIES, json_schema_extra={"uniqueItems": True})
    ]
    cases: SplitCases
    cases_by_rater: Annotated[dict[RaterId, Whole], Field(max_length=raters.MAX_ENTRIES)] | None = None
    preset: Name | None = None
    loss: Name | None = None
    ordinal_weight: Finite | None = None
    iterations: Whole | None = None
    epochs: Whole | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=2**63 - 1)]], Field(max_length=raters.MAX_ENTRIES)] | None = (
        None
    )
    losses: Annotated[dict[Name, Finite], Field(max_length=raters.MAX_ENTRIES)] | None = None
    metrics: Annotated[dict[Name, Finite | None], Field(max_length=raters.MAX_ENTRIES)] | None = None
    manifest_sha256: Sha256 | None = None
    settings_sha256: Sha256 | None = None
    versions: Annotated[dict[Name, Name], Field(max_length=raters.MAX_ENTRIES)] | None = None
    alarms: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=raters.MAX_SENTENCE, pattern=PRINTABLE)]],
            Field(max_length=raters.MAX_ENTRIES),
        ]
        | None
    ) = None


class BundleEntries(JsonModel):
    """What a bundle of every schema says."""

    name: Title
    version: Title
    license: Title
    description: Words
    intended_use: Words
    demo: bool
    mirroring: bool
    organ_labels: Names
    vessel_labels: Annotated[dict[Name, Name], Field(max_length=bundle.MAX_NAMES)]
    roi_margin_mm: Annotated[float, Field(ge=0, le=bundle.MAX_MARGIN_MM)]
    pooling: Literal["mean-softmax"]
    configuration: Configurations
    coarse: Networks
    fine: Networks
    files: Digests
    roi_component_fraction: Share = bundle.ROI_COMPONENT_FRACTION
    roi_probability: Share | None = None
    contact_mm: Annotated[float, Field(ge=CONTACT_MM_RANGE[0], le=CONTACT_MM_RANGE[1])] | None = None
    raters: Annotated[int, Field(ge=1, le=bundle.MAX_RATERS)] | None = None
    fingerprint: Annotated[dict[Literal["coarse", "fine"], Fingerprint], Field(default={})]
    inputs: Inputs | None = None
    networks_sha256: Sha256 | None = None
    training: Training | None = None


class PlainBundle(BundleEntries):
    """A model bundle whose tumour labels are added up as they are."""

    version_of_layout: Literal[1] = Field(alias="schema")
    tumor_labels: Names


class RaterBundle(BundleEntries):
    """A model bundle whose tumour labels have weights, and whose networks or labels may belong to raters."""

    version_of_layout: Literal[2] = Field(alias="schema")
    tumor_weights: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=bundle.MAX_NAMES)
    ]
    rater_members: (
        Annotated[list[RaterNetworks], Field(min_length=1, max_length=raters.MAX_RATER_MEMBERS)]
        | Annotated[list[RaterLabel], Field(min_length=1, max_length=raters.MAX_RATER_MEMBERS)]
        | None
    ) = None


class SliceBundle(BundleEntries):
    """A model bundle whose fine network looks at slices, draws samples, and can draw as each of its raters."""

    version_of_layout: Literal[3] = Field(alias="schema")
    fine: SliceNetworks
    tumor_weights: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=bundle.MAX_NAMES)
    ]
    rater_members: Annotated[list[RaterPersona], Field(min_length=1, max_length=raters.MAX_RATER_MEMBERS)]


class Bundle(RootModel[PlainBundle | RaterBundle | SliceBundle]):
    """A model bundle; "files" holds the SHA-256 of each of its other files."""


Number = Annotated[float, Field(gt=-results.LARGEST, lt=results.LARGEST)]
Object = dict[str, Any]
Fraction = Annotated[float, Field(ge=-results.ROUNDING, le=1 + results.ROUNDING)]
Angle = Annotated[float, Field(ge=-results.ROUNDING, le=results.FULL_TURN_DEG + results.ROUNDING)]
Volume = Annotated[float, Field(ge=-results.ROUNDING, lt=results.LARGEST)]
FractionPair = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
AnglePair = Annotated[list[Angle], Field(min_length=2, max_length=2)]
Source = Literal["calibrated", "map"]
Labels = dict[Text, Count]
Fractions = dict[Text, Fraction | None]
Curve = list[Number | None]


class UsedBundle(JsonModel):
    """The bundle that was used."""

    name: Text
    version: Text
    sha256: Text
    raters: Count | None = None


class UsedCalibrator(JsonModel):
    """The calibrator that was used."""

    target: Literal[results.TARGETS]  # type: ignore[valid-type]


class WhichCt(JsonModel):
    """Which CT was segmented."""

    case: Annotated[Text, Field(min_length=1, max_length=LABEL_LIMIT)] | None = None
    name: Annotated[Text, Field(min_length=1, max_length=NAME_LIMIT)] | None = None
    series_description: Annotated[Text, Field(min_length=1, max_length=NAME_LIMIT)] | None = None
    series_number: Annotated[int, Field(gt=-results.LARGEST, lt=results.LARGEST)] | None = None
    study_date: Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    sha256: Sha256 | None = None
    created: Annotated[str, Field(pattern="^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z$")] | None = None


class ReaderVolumes(JsonModel):
    """Tumour volume in mL of 10, 50 and 90 % of readers."""

    p10: Volume | None = None
    median: Volume | None = None
    p90: Volume | None = None


class ResultStatements(JsonModel):
    """What is said of readers for the whole tumour."""

    source: Source | None = None
    note: Text | None = None
    any_tumour: Fraction | None = None
    volume_ml: ReaderVolumes | None = None


class Lesion(JsonModel):
    """One connected part of the tumour."""

    p_found: Fraction | None = None


class Suitability(JsonModel):
    """How the CT compares with those that the bundle was made with."""

    outside: list[Any] | None = None
    contrast: Object | None = None


class RaterMap(JsonModel):
    """How one rater would draw: "volume_ml" is what this rater rather draws than not."""

    id: RaterId
    file: Annotated[str, Field(pattern=f"^raters/{raters.RATER_ID.pattern}\\.nii\\.gz$")]
    volume_ml: Volume


class Samples(JsonModel):
    """Plausible outlines that the model drew: bit s of a voxel says that sample s marks it; a volume for each."""

    file: Literal["samples.nii.gz"]
    count: Annotated[int, Field(ge=1, le=results.MAX_SAMPLES)]
    volumes_ml: Annotated[list[Volume], Field(min_length=1, max_length=results.MAX_SAMPLES)]


class Result(JsonModel):
    """What was done in a run, and what came of it."""

    version_of_layout: Literal[1] = Field(alias="schema", default=1)
    bundle: UsedBundle
    labels: Labels
    device: Text
    threshold: Annotated[float, Field(gt=0, le=1)]
    calibrator: UsedCalibrator | None
    input: WhichCt | None = None
    volume_ml: Object | None = None
    statements: ResultStatements | None = None
    lesions: list[Lesion] | None = None
    vessel_values: Labels | None = None
    named_vessel_values: Labels | None = None
    suitability: Suitability | None = None
    rater_maps: list[RaterMap] | None = None
    samples: Samples | None = None


class MemberRange(JsonModel):
    """Smallest and largest value over the networks of an ensemble."""

    angle_deg: AnglePair | None = None
    level_contact: FractionPair | None = None
    level_encased: FractionPair | None = None
    members: Number | None = None


class Vessel(JsonModel):
    """The contact of the tumour with one vessel; curves have a value for each of "thresholds"."""

    angle_deg: Curve | None = None
    contact_length_mm: Curve | None = None
    gap_mm: Curve | None = None
    statements: Source | None = None
    p_contact: Fraction | None = None
    p_encased: Fraction | None = None
    level_contact: Fraction | None = None
    level_encased: Fraction | None = None
    score_level_contact: Fraction | None = None
    score_level_encased: Fraction | None = None
    expected_angle_deg: Angle | None = None
    angle_median_deg: Angle | None = None
    angle_p10_deg: Angle | None = None
    angle_p90_deg: Angle | None = None
    p_contact_interval: FractionPair | None = None
    p_encased_interval: FractionPair | None = None
    expected_angle_deg_interval: AnglePair | None = None
    fraction_over: list[Fraction | None] | None = None
    member_range: MemberRange | None = None
    category_probability: Fractions | None = None
    named_by: Text | None = None
    name_confidence: Text | None = None
    name_checked: Literal[True] | None = None


class Calibration(JsonModel):
    """What calibrated statements were fitted on."""

    cases: Count | None = None
    raters: Count | None = None
    family: Text | None = None
    interval_level: Fraction | None = None


class Pattern(JsonModel):
    """The anatomic contact pattern."""

    statements: Source | None = None
    probability: Fractions | None = None
    pattern: Text | None = None


class Invasion(JsonModel):
    """The contact of the tumour with all vessels, by their names."""

    version_of_layout: Literal[results.INVASION_SCHEMAS] = Field(alias="schema", default=1)  # type: ignore[valid-type]
    thresholds: list[Number]
    vessels: dict[str, Vessel]
    statements: Source | None = None
    statements_note: Text | None = None
    measured_on: Literal["score", "map"] | None = None
    calibration: Calibration | None = None
    fraction_angles_deg: list[Angle] | None = None
    resectability: Pattern | None = None


class VesselName(JsonModel):
    """A vessel with a name by anatomy, or without; measures in "evidence" have their units in their names."""

    named: bool
    value: Count
    confidence: Literal["high", "low"] | None
    reason: Text
    evidence: dict[Name, Number]
    volume_ml: Finite


class Naming(JsonModel):
    """Names by anatomy, of a map that knew arteries and veins alone."""

    version_of_layout: Literal[NAMING_SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]
    vessels: dict[Name, VesselName]
    unnamed_ml: Finite
    warnings: list[Text]
    source: dict[Name, Text | None] | None = None
    classes: list[Name] | None = None


FILES: dict[str, type[BaseModel]] = {
    "bundle": Bundle,
    "calibrator": CalibratorModel,
    "invasion": Invasion,
    "naming": Naming,
    "result": Result,
}


def text(name: str) -> str:
    """Return the schema of the file ``<name>.json`` as it is published."""
    schema = _published(FILES[name].model_json_schema())
    return json.dumps({"$schema": DIALECT, "title": f"{name}.json", **schema}, indent=1, ensure_ascii=True) + "\n"


def _published(part: Any) -> Any:
    """Leave out the titles that pydantic makes of names; write limits as other programs know them."""
    if isinstance(part, list):
        return [_published(one) for one in part]
    if not isinstance(part, dict):
        return PUBLISHED if part == PRINTABLE else part
    found = {key: _published(one) for key, one in part.items() if not (key == "title" and isinstance(one, str))}
    for pattern, value in found.pop("patternProperties", {}).items():  # which lets all other names pass
        names = {**found.get("propertyNames", {}), "pattern": PUBLISHED if pattern == PRINTABLE else pattern}
        found |= {"propertyNames": names, "additionalProperties": value}
    return found


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name in FILES:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
