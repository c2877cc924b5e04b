-- Sorts the log of a list into its base.
--
-- Only the head of the list is replaced: the log, the separator, and those ids of the base that are
-- newer than the oldest id of the log. The rest of the base, usually nearly all of it, stays.
--
-- A list without a base is deleted, and its next reader builds it again. The fan-out has trimmed
-- the base away, because nobody read the list for a long time.
--
-- KEYS[1]: the list
-- ARGV[1]: the cap: how many ids the base may have
--
-- Returns 1 if the list was compacted, 2 if it was deleted, and 0 if it is absent or being built.
local key, cap = KEYS[1], tonumber(ARGV[1])
local tail = redis.call('LINDEX', key, -1)
if not tail or string.sub(tail, 1, 1) == 'B' then return 0 end
-- Ids are compared as strings, since Lua's numbers are exact only up to 2^53.
local function is_newer(a, b) return #a > #b or (#a == #b and a > b) end
local is_complete = tail == '0'

-- The elements up to the separator. An id of the log that is older than an incomplete base is left
-- out: Postgres may have more ids below the base, so it must not become the end of the base.
local log, separator, head_length = {}, nil, 0
repeat
    local elements = redis.call('LRANGE', key, head_length, head_length + 255)
    for _, element in ipairs(elements) do
        head_length = head_length + 1
        if string.sub(element, 1, 1) == '=' then
            separator = element
            break
        end
        if is_complete or not is_newer(tail, element) then log[#log + 1] = element end
    end
until separator or #elements == 0
if not separator or tail == separator then
    redis.call('DEL', key)
    return 2
end

-- The ids that replace the head, newest first and without duplicates.
table.sort(log, is_newer)
local ids, next_of_log = {}, 1
local function add(id)
    if id ~= ids[#ids] then ids[#ids + 1] = id end
end
local function add_log_while_newer(than)
    while next_of_log <= #log and (not than or is_newer(log[next_of_log], than)) do
        add(log[next_of_log])
        next_of_log = next_of_log + 1
    end
end
local is_merged = #log == 0
while not is_merged do
    local base = redis.call('LRANGE', key, head_length, head_length + 31)
    is_merged = #base == 0
    for _, id in ipairs(base) do
        if id == '0' or is_newer(log[#log], id) then
            is_merged = true
            break
        end
        add_log_while_newer(id)
        add(id)
        head_length = head_length + 1
    end
end
add_log_while_newer(nil)

-- If nothing is left of the list between the commands, it loses its TTL.
local ttl = redis.call('PTTL', key)
redis.call('LTRIM', key, head_length, -1)
-- unpack() can return only a few thousand values.
for last = #ids, 1, -1000 do
    local reversed = {}
    for i = last, math.max(last - 999, 1), -1 do reversed[#reversed + 1] = ids[i] end
    redis.call('LPUSH', key, unpack(reversed))
end
local tail_length = is_complete and 1 or 0
if redis.call('LLEN', key) > cap + tail_length then redis.call('LTRIM', key, 0, cap - 1) end
redis.call('LPUSH', key, separator)
if ttl > 0 then redis.call('PEXPIRE', key, ttl) end
return 1
