"""Many cases on a Dask cluster: this machine's processors, or any scheduler's workers."""

from twintrack.execution.cohort.run import CohortSummary, run_cohort

__all__ = ["CohortSummary", "run_cohort"]
