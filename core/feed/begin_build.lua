-- Takes the build lease of an absent list: creates the list without a base, so that the fan-out
-- pushes to it from now on.
--
-- KEYS[1]: the list
-- ARGV[1]: the lease, unique to this builder
-- ARGV[2]: the TTL of the lease in milliseconds
--
-- Returns 1 if the caller holds the lease now, 0 if the list exists.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('RPUSH', KEYS[1], '=', 'B' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
