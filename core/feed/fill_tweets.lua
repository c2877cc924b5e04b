-- Replaces fill leases by what their holder read from Postgres.
--
-- KEYS: the entries of the tweet cache
-- ARGV[1]: the lease
-- ARGV[2]: the TTL of the new entries in seconds
-- ARGV[3...]: the new entry for each key, or '' to only give the lease up
--
-- Returns how many of the leases were still held; the other entries are left as they are.
local held = 0
for i, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[1] then
        held = held + 1
        local entry = ARGV[i + 2]
        if entry == '' then
            redis.call('DEL', key)
        else
            redis.call('SET', key, entry, 'EX', ARGV[2])
        end
    end
end
return held
