"""Networks that learn from several raters: strategies, losses, and nnU-Net's trainer driven in this process."""

from twintrack.training.cases import CaseVolumes, Labels, TrainingCase, raters_of, row_case
from twintrack.training.harmonizer import HarmonizerPlan, HarmonizerRun, train_harmonizer
from twintrack.training.harmonizer_settings import HARMONIZER_PRESETS, HarmonizerSettings
from twintrack.training.members import EnsemblePlan, train_members
from twintrack.training.prepare import Prepared, prepare_organ, prepare_tumor
from twintrack.training.presets import PRESETS, Preset, StageSettings
from twintrack.training.strategies import Layout, Member, Strategy, check_raters, plan_members

__all__ = [
    "HARMONIZER_PRESETS",
    "PRESETS",
    "CaseVolumes",
    "EnsemblePlan",
    "HarmonizerPlan",
    "HarmonizerRun",
    "HarmonizerSettings",
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
    "train_harmonizer",
    "train_members",
]
