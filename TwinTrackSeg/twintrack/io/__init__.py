"""What comes in: volume files, CTs and manifests, read once and refused where they are not what they should be."""
