-- For wrk: makes requests from the lines of a file at random, and prints the outcome as JSON at the
-- end. The arguments are the file and, for POST, a path. Without a path each line is the path of a
-- GET; with one, each line is the JSON body of a POST to it.

local lines = {}
local post_path

function init(arguments)
    for line in io.lines(arguments[1]) do lines[#lines + 1] = line end
    post_path = arguments[2]
    if post_path then wrk.headers["Content-Type"] = "application/json" end
    math.randomseed(os.time())
end

function request()
    local line = lines[math.random(#lines)]
    if post_path then return wrk.format("POST", post_path, nil, line) end
    return wrk.format("GET", line)
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"count": %d, "failed": %d, "per_second": %.1f, "p50": %.3f, "p99": %.3f}\n',
        summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
