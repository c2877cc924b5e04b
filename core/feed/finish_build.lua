-- Gives a list its base: the ids that the builder read from Postgres, and those that the fan-out
-- has pushed meanwhile.
--
-- KEYS[1]: the list
-- ARGV[1]: the builder's lease
-- ARGV[2]: the cap: how many ids the base may have
-- ARGV[3]: the TTL of the list in seconds
-- ARGV[4]: 1 if Postgres has no ids of this timeline older than ARGV[6...], else 0
-- ARGV[5]: the separator
-- ARGV[6...]: the ids, newest first, without duplicates, at most as many as the cap
--
-- Returns 1, or 0 if the lease was lost; then the list is left as it is.

-- Returns the base of a list: the newest ids, newest first and without duplicates.
--
-- ids: in any order; this function sorts them in place. They are compared as strings, since Lua's
--     numbers are exact only up to 2^53: the longer of two ids is the greater one.
-- cap: how many ids the base may have.
-- is_complete: whether Postgres has no ids of this timeline older than these. If so, and if all of
--     them fit into the cap, the base ends with '0'.
local function merge(ids, cap, is_complete)
    table.sort(ids, function(a, b) return #a > #b or (#a == #b and a > b) end)
    local base, last = {}, nil
    for _, id in ipairs(ids) do
        if id ~= last then
            if #base == cap then
                is_complete = false
                break
            end
            base[#base + 1] = id
            last = id
        end
    end
    if is_complete then base[#base + 1] = '0' end
    return base
end

-- Replaces a list by one with an empty log, whose base is the part of a table from `first`. The new
-- list has no TTL.
local function replace(key, separator, base, first)
    redis.call('DEL', key)
    redis.call('RPUSH', key, separator)
    -- unpack() can return only a few thousand values.
    for i = first, #base, 1000 do
        redis.call('RPUSH', key, unpack(base, i, math.min(i + 999, #base)))
    end
end

if redis.call('LINDEX', KEYS[1], -1) ~= 'B' .. ARGV[1] then return 0 end
if redis.call('LLEN', KEYS[1]) == 2 then
    -- Nothing was pushed, as is usual, so the ids are sorted already.
    if ARGV[4] == '1' then ARGV[#ARGV + 1] = '0' end
    replace(KEYS[1], ARGV[5], ARGV, 6)
else
    local base = {unpack(ARGV, 6)}
    for _, element in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
        if string.sub(element, 1, 1) == '=' then break end
        base[#base + 1] = element
    end
    replace(KEYS[1], ARGV[5], merge(base, tonumber(ARGV[2]), ARGV[4] == '1'), 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
