"""``python -m twintrack`` is the command ``twintrack``."""

from twintrack.cli.app import main

if __name__ == "__main__":
    main()
