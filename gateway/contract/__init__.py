"""The nouns: requests and results, findings, and how a model is executed. Plain values that import nothing heavy."""
