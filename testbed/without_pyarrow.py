"""Makes pyarrow look as if it were not installed to whatever is imported after this module, such as pandas."""

import sys

sys.modules["pyarrow"] = None  # type: ignore[assignment]  # an import of it fails
