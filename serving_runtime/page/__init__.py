"""`GET /docs`: one page by which a person asks the model. It loads nothing from anywhere else."""
