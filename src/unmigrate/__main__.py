"""python -m unmigrate"""

import sys

from unmigrate.cli.main import main

sys.exit(main())
