"""Where the engine runs: a worker, a cluster, a cohort on it, a server."""
