"""MLflow's words for where a version stands, and the aliases that say the same."""

from typing import Final

READY: Final = "READY"
STAGING: Final = "Staging"
PRODUCTION: Final = "Production"
ARCHIVED: Final = "Archived"
STAGING_ALIAS: Final = "staging"
PRODUCTION_ALIAS: Final = "production"
