-- Sorts the log of a list into its base. merge.lua is put in front of this script.
--
-- A list without a base is deleted, and its next reader builds it again. The fan-out has trimmed
-- the base away, because nobody read the list for a long time.
--
-- KEYS[1]: the list
-- ARGV[1]: the cap: how many ids the base may have
--
-- Returns 1 if the list was compacted, 2 if it was deleted, and 0 if it is absent or being built.
local elements = redis.call('LRANGE', KEYS[1], 0, -1)
local tail = elements[#elements]
if not tail or string.sub(tail, 1, 1) == 'B' then return 0 end
local separator, ids = nil, {}
for _, element in ipairs(elements) do
    if string.sub(element, 1, 1) == '=' then
        separator = element
    elseif element ~= '0' then
        ids[#ids + 1] = element
    end
end
if not separator or tail == separator then
    redis.call('DEL', KEYS[1])
    return 2
end
if tail ~= '0' then
    -- The base is complete only down to its last id, and Postgres may have more ids below. So an
    -- older id of the log must not become the end of the base.
    local kept = {}
    for _, id in ipairs(ids) do
        if #id > #tail or (#id == #tail and id >= tail) then kept[#kept + 1] = id end
    end
    ids = kept
end
local ttl = redis.call('PTTL', KEYS[1])
replace(KEYS[1], separator, merge(ids, tonumber(ARGV[1]), tail == '0'), 1)
if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
return 1
