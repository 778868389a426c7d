"""A DICOM node: CTs come in by C-STORE, the service segments them, results go back into the same study."""
