"""A result as files: DICOM objects, volumes, report."""
