-- wrk: POST one body again and again.  wrk … -s post.lua URL -- BODY_FILE HEADERS_FILE
-- The request is formatted once. The last line of the output is the result as JSON.
function init(args)
   wrk.method = "POST"
   local body = assert(io.open(args[1], "rb"))
   wrk.body = body:read("*a")
   body:close()
   for line in io.lines(args[2]) do
      local name, value = line:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"errors":%d,"bad_statuses":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
