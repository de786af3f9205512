"""MLflow's stages of a version, and the aliases with the same meaning."""

from typing import Final

READY: Final = "READY"
STAGING: Final = "Staging"
PRODUCTION: Final = "Production"
ARCHIVED: Final = "Archived"
STAGING_ALIAS: Final = "staging"
PRODUCTION_ALIAS: Final = "production"
