"""What two or more of Fanfare's processes share.

docs/glossary.md explains the terms.
"""
