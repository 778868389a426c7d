"""The vessels of a result: which segments they are, table, curve, views across them."""
