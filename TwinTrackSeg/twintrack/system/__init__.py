"""Files that appear whole, locks, temporary folders, memory and disk: what the engine asks of the operating system."""
