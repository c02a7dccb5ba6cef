"""Other ways to train a model. They load torch when first used."""
