"""The paper's experiment, as its Table 1."""
