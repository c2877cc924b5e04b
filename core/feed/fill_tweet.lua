-- Replaces a fill lease by what its holder read from Postgres.
--
-- KEYS[1]: the entry of the tweet cache
-- ARGV[1]: the lease
-- ARGV[2]: the new entry, or '' to only give the lease up
-- ARGV[3]: its TTL in seconds
--
-- Returns 1, or 0 if the lease was lost; then the entry is left as it is.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
