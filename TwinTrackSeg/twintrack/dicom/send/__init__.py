"""DICOM on its way: C-STORE and STOW-RS."""
