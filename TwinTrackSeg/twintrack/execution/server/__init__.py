"""One CT at a time on another computer that keeps a bundle loaded: ``twintrack serve``, and those who send to it."""
