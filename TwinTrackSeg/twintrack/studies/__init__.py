"""Many cases, one table: calibrate, evaluate, the paper's experiment, and making a bundle."""
