"""DICOM out: segmentation, parametric map, structured report, and a synthetic CT series."""
