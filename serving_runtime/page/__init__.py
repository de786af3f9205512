"""`GET /docs`: one page on which a person tries the model. It loads nothing from other servers."""
