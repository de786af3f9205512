"""The same model behind other servers, each as a team that uses it would write it, in an environment of its own."""
