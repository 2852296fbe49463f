"""``python -m signaling`` is ``kloudtalk``."""

import sys

from signaling.cli import main

sys.exit(main())
