"""Public models: which are known, under which licence, and how one is got, checked and kept for every program here."""
