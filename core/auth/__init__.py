"""Authentication and authorization: access tokens, access rules, rate limits, addresses."""
