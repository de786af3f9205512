"""A look at a live cluster: is the webhook installed as it should be, and if not, what is to be done?"""
