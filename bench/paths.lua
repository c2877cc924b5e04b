-- For wrk: fetches the paths in a file at random, and prints the outcome as JSON at the end.

local paths = {}

function init(arguments)
    for path in io.lines(arguments[1]) do paths[#paths + 1] = path end
    math.randomseed(os.time())
end

function request()
    return wrk.format("GET", paths[math.random(#paths)])
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
