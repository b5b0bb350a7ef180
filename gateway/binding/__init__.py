"""The typed contract: a signature read once, a study made into its arguments, what it returns made into an answer."""
