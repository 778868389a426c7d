"""What several packages measure in images: boxes, lesions, views, and contact in a plane."""
