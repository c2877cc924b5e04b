-- Takes the fill leases of those entries of the tweet cache that are absent.
--
-- KEYS: the entries
-- ARGV[1]: the lease, unique to this reader
-- ARGV[2]: its TTL in seconds
--
-- Returns, for each key, 1 if the caller holds the lease now, 0 if there is an entry.
local taken = {}
for i, key in ipairs(KEYS) do
    taken[i] = redis.call('SET', key, ARGV[1], 'NX', 'EX', ARGV[2]) and 1 or 0
end
return taken
