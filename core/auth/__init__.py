"""Who calls, and what they may do: keys, access tokens, the authorizer, rate limits, addresses."""
