"""Networks that learn from several raters: strategies, losses, and nnU-Net's trainer driven in this process."""

from twintrack.training.cases import CaseVolumes, Labels, TrainingCase, raters_of, row_case
from twintrack.training.members import EnsemblePlan, train_members
from twintrack.training.prepare import Prepared, prepare_organ, prepare_tumor
from twintrack.training.presets import PRESETS, Preset, StageSettings
from twintrack.training.strategies import Layout, Member, Strategy, check_raters, plan_members

__all__ = [
    "PRESETS",
    "CaseVolumes",
    "EnsemblePlan",
    "Labels",
    "Layout",
    "Member",
    "Prepared",
    "Preset",
    "StageSettings",
    "Strategy",
    "TrainingCase",
    "check_raters",
    "plan_members",
    "prepare_organ",
    "prepare_tumor",
    "raters_of",
    "row_case",
    "train_members",
]
