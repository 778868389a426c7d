"""DICOM in: find, choose and read a CT series."""
