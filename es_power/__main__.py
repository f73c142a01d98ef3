"""`python -m es_power` is `es-power`."""

import sys

from es_power.cli import main

if __name__ == "__main__":
    sys.exit(main())
