"""Many cases on a Dask cluster: this machine's processors, or any scheduler's workers."""

from twintrack.cohort.run import CohortSummary, run_cohort

__all__ = ["CohortSummary", "run_cohort"]
