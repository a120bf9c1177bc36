-- Sends the requests of a file in turns, a line each: an access token or "-", a tab, the body. With a text as
-- second argument every answer must hold it.

local requests = {}
local at = 0
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  thread:set("wrong", 0)
  threads[#threads + 1] = thread
end

function init(args)
  for line in io.lines(args[1]) do
    local token, body = line:match("^([^\t]*)\t(.*)$")
    local headers = { ["Content-Type"] = "application/json" }
    if token ~= "-" then headers["Authorization"] = "Bearer " .. token end
    requests[#requests + 1] = wrk.format(body ~= "" and "POST" or "GET", nil, headers, body ~= "" and body or nil)
  end
  -- So that two threads do not ask for the same at the same time.
  at = number * math.floor(#requests / 2)
  if args[2] then
    -- Only here, because wrk hands answers to Lua as soon as there is such a function, which costs.
    response = function(status, _, body)
      if status ~= 200 or not body:find(args[2], 1, true) then wrong = wrong + 1 end
    end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  local wrongs = 0
  for _, thread in ipairs(threads) do wrongs = wrongs + thread:get("wrong") end
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    math.max(e.status, wrongs), e.connect + e.read + e.write + e.timeout))
end
