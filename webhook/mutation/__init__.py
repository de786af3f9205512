"""What is added to a pod, part by part, and the JSON Patch that adds what is not there yet."""
