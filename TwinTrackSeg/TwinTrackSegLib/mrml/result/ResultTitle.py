"""Whose result it is, in one line: patient, series and study date as the result or the scene know them, else the name.

The line is for the panel alone: a patient's name goes into no file, log or error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import slicer
from twintrack.dicom.read.series import iso_date
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult

__all__ = ["distinctNames", "resultTitle", "resultTitles"]

BETWEEN = " · "


def resultTitle(result: SceneResult) -> str:
    """Return which CT a result belongs to: patient, series, study date; where no series is known, the volume's name."""
    which, ct = WhichCt.of(result.record.result), result.nodes.ct
    patient, date = _studyOf(ct) if ct is not None else ("", "")
    name = which.case or (str(ct.GetName()) if ct is not None else "")
    return BETWEEN.join(part for part in (patient, which.series or name, which.study_date or date) if part)


def resultTitles(results: Sequence[SceneResult]) -> list[str]:
    """Return a title for each result, no two of them alike.

    Equal ones of different CTs get the volume's name, those of one CT the time when they were made, else a number.
    """
    titles = [resultTitle(result) for result in results]
    names = [str(result.nodes.ct.GetName()) if result.nodes.ct is not None else "" for result in results]
    cts = [result.nodes.ct.GetID() if result.nodes.ct is not None else "" for result in results]
    for title in {title for title, number in Counter(titles).items() if number > 1}:
        same = [index for index, other in enumerate(titles) if other == title]
        several = len({cts[index] for index in same}) > 1
        for index in same:
            made = WhichCt.of(results[index].record.result).created
            parts = (names[index] if several and names[index] not in title else "", f"made {made}" if made else "")
            titles[index] = BETWEEN.join(part for part in (title, *parts) if part)
    return _numbered(titles)


def distinctNames(one: Any, other: Any) -> tuple[str, str]:
    """Return the names of two volumes; alike ones with the patient, or with the node's ID where that is alike too."""
    volumes = (one, other)
    names = [str(volume.GetName()) for volume in volumes]
    patients = [_studyOf(volume)[0] for volume in volumes]
    if names[0] == names[1] and patients[0] != patients[1]:
        names = [BETWEEN.join(filter(None, both)) for both in zip(patients, names, strict=True)]
    elif names[0] == names[1]:
        names = [f"{name} ({volume.GetID()})" for name, volume in zip(names, volumes, strict=True)]
    return names[0], names[1]


def _numbered(titles: Sequence[str]) -> list[str]:
    """Return the titles, equal ones with a number at the end."""
    often, met, numbered = Counter(titles), Counter[str](), []
    for title in titles:
        met[title] += 1
        numbered.append(f"{title} ({met[title]})" if often[title] > 1 else title)
    return numbered


def _studyOf(volumeNode: Any) -> tuple[str, str]:
    """Return the patient and the date (YYYY-MM-DD) under which the scene lists a volume; empty where it does not."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    if not item:
        return "", ""
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient())
    study = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelStudy())
    date = hierarchy.GetItemAttribute(study, constants.GetDICOMStudyDateAttributeName()) if study else ""
    known = iso_date(date.replace("-", "")) or ""
    return str(hierarchy.GetItemName(patient)) if patient else "", known
