"""The address at which programs that others wrote start the worker: ``python -m twintrack.worker``."""

import sys

if __name__ == "__main__":
    from twintrack.execution.worker.__main__ import main

    sys.exit(main())
