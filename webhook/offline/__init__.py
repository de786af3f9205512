"""The same decision without a cluster: objects from files, changed or explained."""
