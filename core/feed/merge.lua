-- Functions that finish_build.lua and compact_list.lua share. load_script() puts this file in front
-- of them.

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
