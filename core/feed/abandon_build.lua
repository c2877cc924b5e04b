-- Deletes a list that is not built yet: for a builder that gives up, and for a reader that finds
-- the list of a builder that died.
--
-- KEYS[1]: the list
-- ARGV[1]: the builder's lease
--
-- Returns 1, or 0 if the lease was lost; then the list is left as it is.
if redis.call('LINDEX', KEYS[1], -1) ~= 'B' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
