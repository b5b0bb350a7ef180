"""What the gateway costs, in ratios against a plain one that is measured in the same run: ``python -m benchmarks``."""
