"""From a registered version to Staging and Production."""
