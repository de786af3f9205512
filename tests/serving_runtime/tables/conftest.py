"""The number of generated tables: `MODEL_API_TEST_EXAMPLES=20000 pytest --timeout=0 <this folder>` makes more."""

import os
from typing import Final

EXAMPLES: Final = int(os.environ.get("MODEL_API_TEST_EXAMPLES", "400"))
