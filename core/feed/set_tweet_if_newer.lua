-- Sets an entry of the tweet cache, unless the present entry is newer or of the same version. A
-- deleted tweet is newer than any version. A fill lease is always replaced.
--
-- KEYS[1]: the entry
-- ARGV[1]: the new entry: '<version>:<tweet>', or 'D' for a deleted tweet
-- ARGV[2]: its TTL in seconds
--
-- Returns 1 if the entry was set, else 0.
local old = redis.call('GET', KEYS[1])
if old == 'D' then return 0 end
if old and ARGV[1] ~= 'D' then
    local version = tonumber(string.match(old, '^(%d+):'))
    if version and version >= tonumber(string.match(ARGV[1], '^(%d+):')) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
