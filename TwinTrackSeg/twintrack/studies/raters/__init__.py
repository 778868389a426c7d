"""The experiment on several raters: ways to train on them, compared."""
