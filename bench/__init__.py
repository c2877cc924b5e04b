"""`fanfare bench`: measures the running system, and each part against the limit of the layer below.

docs/benchmarks.md explains the method.

docs/glossary.md explains the terms.
"""
