"""`python -m serving_runtime` is `model-api-runtime`."""

import sys

from serving_runtime.cli import main

sys.exit(main())
