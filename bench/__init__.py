"""Benchmarks: figures beside a baseline that is measured in the same run. They judge nothing; see README.md."""
