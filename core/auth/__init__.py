"""Authentication and authorization: access tokens, access rules, rate limits, addresses.

docs/glossary.md explains the terms.
"""
