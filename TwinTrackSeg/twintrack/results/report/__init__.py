"""The report for people: page, pictures, and the words of its tables."""
