"""``python -m twintrack`` is the command ``twintrack``."""

from twintrack.cli import main

if __name__ == "__main__":
    main()
