"""Running the engine in a process of its own: settings, requests, events, temporary files."""
