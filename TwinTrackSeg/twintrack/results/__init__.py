"""What goes out: the result folder, its documents, and its DICOM objects."""
